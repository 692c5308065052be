// A whole checkpoint, from bytes through the model to every view of it.
#include "images/checkpoint.h"

#include "images/coverage.h"
#include "inspect/artifacts.h"
#include "inspect/core_file.h"
#include "inspect/creds.h"
#include "inspect/diff.h"
#include "inspect/fds.h"
#include "inspect/mem.h"
#include "inspect/overview.h"
#include "inspect/ps.h"
#include "inspect/report.h"
#include "inspect/sockets.h"
#include "inspect/surroundings.h"
#include "inspect/threads.h"
#include "inspect/timers.h"
#include "inspect/track.h"
#include "tests/fuzz/fuzz.h"

using namespace cprewind;

namespace {

void make_core(inspect::Moment moment, const images::Process& process) {
    constexpr uint64_t k_written = 16u << 20;
    images::Findings findings;
    inspect::ContainerFiles files(moment, nullptr, nullptr, {}, findings);
    inspect::CoreFile core(moment, process, files, findings);
    if (core.size() > k_written) return;
    core.write(
        [&](uint64_t offset, std::span<const std::byte> bytes) {
            fuzz::must(offset <= core.size() && bytes.size() <= core.size() - offset,
                       "all of it is in the core");
        },
        [](uint64_t) {}, 1);
}

void look_at_processes(inspect::Moment moment) {
    images::Findings findings;
    inspect::make_overview(moment);
    inspect::list_processes(moment);
    inspect::list_fds(moment, findings);
    inspect::list_memory(moment);
    inspect::list_threads(moment.checkpoint);
    inspect::list_timers(moment.checkpoint);
    inspect::list_creds(moment);
    inspect::list_sockets(moment);
    images::MemoryWindow memories(moment.checkpoint, moment.source, images::ExpectedStrings::environment,
                                  findings);
    for (const images::Process& process : moment.checkpoint.processes) {
        bool complete = false;
        inspect::read_environment(memories, process, complete);
    }
    inspect::trace_text(moment, std::nullopt, "x", findings);
}

void look_at_the_rest(inspect::Moment moment) {
    inspect::list_namespaces(moment);
    inspect::list_cgroups(moment);
    inspect::list_locks(moment);
    inspect::list_ipc(moment);
    inspect::list_net(moment);
    inspect::list_mounts(moment);
    inspect::list_stats(moment);
    inspect::make_report(moment, {});
    images::Findings findings;
    uint64_t given = 0;
    for (const inspect::Artifact& artifact : inspect::list_artifacts(moment).artifacts) {
        if (artifact.kind == inspect::ArtifactKind::tmpfs || artifact.size > (16u << 20)) continue;
        inspect::read_artifact(
            moment, artifact, [&](uint64_t, std::span<const std::byte> bytes) { given += bytes.size(); },
            findings);
    }
}

void compare(inspect::Moment moment) {
    inspect::diff_processes(moment, moment);
    inspect::diff_threads(moment.checkpoint, moment.checkpoint);
    inspect::diff_fds(moment, moment);
    inspect::diff_memory(moment, moment);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    auto source = fuzz::files_of(fuzz::text_of(data, size));
    fuzz::allow_refusal([&] {
        images::Checkpoint checkpoint = images::load_checkpoint(source);
        for (const images::FileCoverage& file : images::cover(source).files)
            fuzz::must(file.sum() == file.size, "every byte is accounted for");
        inspect::Moment moment{checkpoint, source};
        fuzz::allow_refusal([&] { look_at_processes(moment); });
        fuzz::allow_refusal([&] { look_at_the_rest(moment); });
        compare(moment);
        for (const images::Process& process : checkpoint.processes)
            fuzz::allow_refusal([&] { make_core(moment, process); });
    });
    return 0;
}

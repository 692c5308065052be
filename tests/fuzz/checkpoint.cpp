// A whole checkpoint, from bytes through the model to every view of it.
#include "images/checkpoint.h"

#include "images/coverage.h"
#include "inspect/core_file.h"
#include "inspect/diff.h"
#include "inspect/fds.h"
#include "inspect/mem.h"
#include "inspect/overview.h"
#include "inspect/ps.h"
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
        [](uint64_t) {});
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    auto source = fuzz::files_of(fuzz::text_of(data, size));
    fuzz::allow_refusal([&] {
        images::Checkpoint checkpoint = images::load_checkpoint(source);
        for (const images::FileCoverage& file : images::cover(source).files)
            fuzz::must(file.sum() == file.size, "every byte is accounted for");
        inspect::Moment moment{checkpoint, source};
        inspect::make_overview(moment);
        inspect::list_processes(moment);
        inspect::list_fds(checkpoint);
        inspect::list_memory(moment);
        inspect::diff_processes(moment, moment);
        inspect::diff_fds(checkpoint, checkpoint);
        inspect::diff_memory(moment, moment);
        for (const images::Process& process : checkpoint.processes)
            fuzz::allow_refusal([&] { make_core(moment, process); });
    });
    return 0;
}

// Every fixture with each of its images cut or with a bit flipped, through the whole of load and every view: never a
// crash or a hang, and never a silent success, which is another answer without a finding.
//
// All places of all images are some millions, so here they are sampled; CPREWIND_EVERY_BYTE=1 tries each (in a
// release build that is a matter of minutes, in others of hours).
#include <fmt/format.h>

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <set>

#include "base/error.h"
#include "images/directory_source.h"
#include "images/image_json.h"
#include "images/image_kinds.h"
#include "inspect/artifacts.h"
#include "inspect/creds.h"
#include "inspect/fds.h"
#include "inspect/mem.h"
#include "inspect/overview.h"
#include "inspect/ps.h"
#include "inspect/sockets.h"
#include "inspect/surroundings.h"
#include "inspect/threads.h"
#include "inspect/timers.h"
#include "tests/images/image_builder.h"

using namespace cprewind;
using namespace cprewind::inspect;
using images::test::MemorySource;
namespace fs = std::filesystem;

namespace {

// What a person would see of a checkpoint in all views, and what was found odd.
struct Seen {
    std::string text;
    std::set<std::string> findings;
};

class Observer {
 public:
    explicit Observer(const MemorySource& source)
        : source_(source), checkpoint_(images::load_checkpoint(source)) {}

    Seen look() {
        take(checkpoint_.findings);
        look_at_processes();
        look_at_files();
        look_at_surroundings();
        return std::move(seen_);
    }

 private:
    template <typename... Values>
    void add(const Values&... values) {
        ((seen_.text += fmt::format("{} ", values)), ...);
        seen_.text += '\n';
    }
    void take(const images::Findings& findings) {
        for (const images::Finding& finding : findings)
            seen_.findings.insert(finding.file + ": " + finding.message);
    }
    Moment moment() const { return {checkpoint_, source_}; }

    void look_at_processes() {
        Overview overview = make_overview(moment());
        take(overview.findings);
        add(overview.hostname.value_or("-"), overview.processes, overview.threads, overview.open_files,
            overview.dumped_bytes);
        PsView ps = list_processes(moment());
        take(ps.findings);
        for (const PsRow& row : ps.rows) {
            add(row.pid.value, row.ppid.value, images::name_of(row.state), row.threads, row.uid.value_or(99),
                row.comm, row.executable, row.cwd, row.resident_bytes);
            for (const std::string& argument : row.arguments) add(argument);
        }
        for (const ThreadRow& row : list_threads(checkpoint_)) {
            add(row.tid.value, row.comm, row.code, row.pending.size(), row.blocked_signals.value_or(0));
            for (const images::Register& each : row.registers) add(each.name, each.value);
        }
        for (const TimerRow& row : list_timers(checkpoint_)) add(row.kind, row.left_ns, row.interval_ns);
        CredsView creds = list_creds(moment());
        take(creds.findings);
        for (const CredsRow& row : creds.rows)
            add(row.tid.value, row.credentials.uid, row.credentials.cap_effective);
        for (const SeccompProgram& program : creds.filters) add(program.index, program.instructions);
        MemView memory = list_memory(moment());
        take(memory.findings);
        for (const ProcessMemory& process : memory.processes) {
            for (const MemRow& row : process.rows)
                add(row.start, row.end, row.protection, row.path, row.dumped_bytes, row.pages.zero);
        }
    }

    void look_at_files() {
        images::Findings findings;
        for (const FdRow& row : list_fds(moment(), findings))
            add(row.pid.value, row.fd, row.target, row.flags, row.position.value_or(0), row.queued_bytes);
        take(findings);
        SocketView sockets = list_sockets(moment());
        take(sockets.findings);
        for (const SocketRow& row : sockets.rows)
            add(row.family, row.local, row.remote, row.state, row.receive_queue_bytes, row.send_queue_bytes);
        ArtifactView artifacts = list_artifacts(moment());
        take(artifacts.findings);
        for (const Artifact& artifact : artifacts.artifacts) add(artifact.id, artifact.name, artifact.size);
        LockView locks = list_locks(moment());
        take(locks.findings);
        for (const LockRow& row : locks.rows) add(row.lock.type, row.lock.start, row.path);
    }

    void look_at_surroundings() {
        NamespaceView namespaces = list_namespaces(moment());
        take(namespaces.findings);
        for (const NamespaceRow& row : namespaces.rows) add(row.kind, row.id, row.processes.size());
        CgroupView groups = list_cgroups(moment());
        take(groups.findings);
        for (const images::CgroupProperty& each : groups.properties) add(each.path, each.name, each.value);
        IpcView ipc = list_ipc(moment());
        take(ipc.findings);
        for (const images::IpcSegment& each : ipc.ipc.segments) add(each.owner.id, each.size);
        for (const images::IpcSemaphores& each : ipc.ipc.semaphores) add(each.owner.id, each.values.size());
        for (const images::IpcQueue& each : ipc.ipc.queues) add(each.owner.id, each.messages.size());
        for (const auto& [name, value] : ipc.ipc.limits) add(name, value);
        NetView net = list_net(moment());
        take(net.findings);
        for (const images::NetDevice& each : net.network.devices) add(each.name, each.mtu);
        for (const images::NetAddress& each : net.network.addresses) add(each.address);
        for (const images::NetRoute& each : net.network.routes) add(each.destination, each.gateway);
        for (const images::Mount& each : checkpoint_.mounts) add(each.mountpoint, each.source, each.options);
        StatsView stats = list_stats(moment());
        take(stats.findings);
        if (stats.dump) add(stats.dump->pages_written, stats.dump->frozen.count());
    }

    const MemorySource& source_;
    images::Checkpoint checkpoint_;
    Seen seen_;
};

Seen look(const MemorySource& source) {
    return Observer(source).look();
}

std::vector<fs::path> fixtures() {
    std::vector<fs::path> found;
    for (const auto& entry : fs::recursive_directory_iterator(CPREWIND_FIXTURES)) {
        if (entry.path().filename() == "inventory.img") found.push_back(entry.path().parent_path());
    }
    std::sort(found.begin(), found.end());
    return found;
}

// Where an image can end and look whole: behind its head, and behind each entry with what belongs to it. An image
// does not say how many entries it has, so a cut there is told only by what other images say.
bool is_boundary(const images::ImageKind& kind, const std::string& content, size_t place) {
    if (place < images::test::make_head(kind).size()) return false;
    if (kind.payload != images::Payload::none && kind.payload != images::Payload::pagemap) {
        // What follows an entry has a length that the entry tells, each in its own way.
        images::Findings findings;
        std::string cut = content.substr(0, place);
        images::decode_image(images::test::MemoryFile(cut), kind.name, findings);
        return findings.empty();
    }
    size_t at = images::test::make_head(kind).size();
    while (at < place) {
        uint32_t size = 0;
        if (content.size() - at < sizeof(size)) return false;
        std::memcpy(&size, content.data() + at, sizeof(size));
        at += sizeof(size) + size;
    }
    return at == place;
}

// Numbers that look random and are the same in every run.
class Sampler {
 public:
    bool every_byte() const { return every_byte_; }
    size_t below(size_t end) {
        state_ = state_ * 6364136223846793005u + 1442695040888963407u;
        return static_cast<size_t>((state_ >> 33) % end);
    }

 private:
    bool every_byte_ = std::getenv("CPREWIND_EVERY_BYTE") != nullptr;
    uint64_t state_ = 3;
};

// Calls `visit` with each image of each fixture and the places in it to try.
template <typename Visit>
void for_each_place(size_t samples, Visit&& visit) {
    Sampler sampler;
    std::set<std::string> known;
    for (const fs::path& directory : fixtures()) {
        MemorySource whole = images::test::copy_of(images::DirectorySource(directory));
        Seen before = look(whole);
        for (const auto& [name, content] : whole.files) {
            auto found = images::find_image_kind(name);
            if (!found || found->kind->head == images::ImageHead::raw || content.empty()) continue;
            // The same image in the same surroundings says nothing new; kinds repeat, sizes hardly.
            if (!sampler.every_byte() && !known.insert(found->kind->name + content).second) continue;
            std::set<size_t> places;
            if (sampler.every_byte()) {
                for (size_t i = 0; i < content.size(); ++i) places.insert(i);
            } else {
                for (size_t i = 0; i < samples; ++i) places.insert(sampler.below(content.size()));
            }
            MemorySource changed = whole;
            for (size_t place : places) {
                INFO(directory.filename().string() << "/" << name << " at " << place);
                visit(changed, name, *found->kind, content, place, before);
            }
        }
    }
}

}  // namespace

TEST_CASE("an image cut anywhere is either told or changes nothing that anybody sees") {
    for_each_place(4, [](MemorySource& source, const std::string& name, const images::ImageKind& kind,
                         const std::string& content, size_t place, const Seen& before) {
        source.files[name] = content.substr(0, place);
        Seen after = look(source);
        source.files[name] = content;
        std::string_view called = kind.name;
        bool counted = called == "PSTREE" || called.ends_with("PAGEMAP");  // by cores, by pages
        if (!counted && is_boundary(kind, content, place)) return;
        bool told = !std::includes(before.findings.begin(), before.findings.end(), after.findings.begin(),
                                   after.findings.end());
        bool silent_success = !told && after.text != before.text;
        CHECK_FALSE(silent_success);
    });
}

TEST_CASE("an image with any bit flipped does no harm") {
    for_each_place(4, [](MemorySource& source, const std::string& name, const images::ImageKind&,
                         const std::string& content, size_t place, const Seen&) {
        source.files[name][place] = static_cast<char>(content[place] ^ (1 << (place * 5 % 8)));
        try {
            look(source);
        } catch (const base::Error&) {
            // Of damaged pages: said, and no harm.
        }
        source.files[name] = content;
    });
    SUCCEED("no crash and no hang");
}

// Checkpoints that real CRIU made of programs whose state is known: fixtures/README.md says what is in them.
#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <map>
#include <set>

#include "images/checkpoint.h"
#include "images/directory_source.h"
#include "images/image_kinds.h"
#include "images/pages.h"
#include "tests/images/image_builder.h"

using namespace cprewind::images;
using namespace cprewind::images::test;

namespace {

DirectorySource fixture(const std::string& name) {
    return DirectorySource(std::string(CPREWIND_FIXTURES "/") + name);
}

std::string all_of(const Findings& findings) {
    std::string text;
    for (const Finding& finding : findings) {
        text += std::string(name_of(finding.kind)) + " " + finding.file + ": " + finding.message + "\n";
    }
    return text;
}

const Process& process_named(const Checkpoint& checkpoint, std::string_view comm, ProcessState state) {
    for (const Process& process : checkpoint.processes) {
        if (process.comm == comm && process.state == state) return process;
    }
    FAIL("no process " << comm);
    return checkpoint.processes.front();
}

std::string text_at(const AddressSpace& memory, uint64_t address) {
    std::vector<std::byte> bytes(64);
    memory.read(address, bytes);
    return reinterpret_cast<const char*>(bytes.data());
}

// Loads everything there is and looks at all of it; what comes out is not judged.
Findings load_all(const ImageSource& source) {
    Checkpoint checkpoint = load_checkpoint(source);
    Findings findings = checkpoint.findings;
    for (const Process& process : checkpoint.processes) {
        if (process.state == ProcessState::zombie) continue;
        AddressSpace memory(source, process, findings);
        bool complete = false;
        read_range(memory, process.arguments, 1u << 16, complete);
        for (const Mapping& mapping : process.mappings) {
            std::vector<std::byte> bytes(100);
            memory.read(mapping.start, bytes);
            memory.read(mapping.end - 50, bytes);
        }
    }
    return findings;
}

// Those of which more than the head is read.
bool is_parsed(const ImageKind& kind) {
    static const std::set<std::string_view> k_parsed = {
        "INVENTORY", "PSTREE",      "CORE",        "IDS",  "MM",    "FS",    "FDINFO",   "FILES",
        "PAGEMAP",   "MEMFD_INODE", "REMAP_FPATH", "MNTS", "UTSNS", "STATS", "TTY_INFO", "SHMEM_PAGEMAP"};
    return k_parsed.contains(kind.name);
}

// Lengths at which an image is cut between two entries, so that it looks whole.
std::set<size_t> entry_boundaries(const ImageKind& kind, const std::string& content) {
    std::set<size_t> boundaries;
    size_t place = make_head(kind).size();
    while (place < content.size()) {
        boundaries.insert(place);
        uint32_t size;
        std::memcpy(&size, content.data() + place, sizeof(size));
        place += sizeof(size) + size;
    }
    return boundaries;
}

}  // namespace

TEST_CASE("sound checkpoints give no finding") {
    for (const char* name : {"counter", "kitchen", "kitchen-later"}) {
        DirectorySource source = fixture(name);
        INFO(name << "\n" << all_of(load_all(source)));
        CHECK(load_all(source).empty());
    }
}

TEST_CASE("the shell of the counter and its sleep are there, with everything about them") {
    DirectorySource source = fixture("counter");
    Checkpoint checkpoint = load_checkpoint(source);
    REQUIRE(checkpoint.processes.size() == 2);
    const Process& shell = checkpoint.processes[0];
    CHECK(shell.pid.value == 1);
    CHECK(shell.comm == "sh");
    CHECK(shell.state == ProcessState::alive);
    CHECK(shell.executable == "/bin/busybox");
    CHECK(shell.cwd == "/tmp");
    CHECK(shell.root == "/");
    REQUIRE(shell.credentials.has_value());
    CHECK(shell.credentials->euid == 0);
    CHECK(shell.credentials->no_new_privs);
    CHECK(shell.limits.size() == 16);
    CHECK(checkpoint.processes[1].depth == 1);
    CHECK(checkpoint.processes[1].ppid == shell.pid);
    CHECK(checkpoint.architecture == Architecture::x86_64);
    CHECK(checkpoint.inventory.image_version == 2u);
    CHECK(checkpoint.hostname == "fixture");
    REQUIRE(checkpoint.statistics.has_value());
    CHECK(checkpoint.statistics->frozen.count() > 0);
    CHECK(checkpoint.statistics->pages_written > 0);
    CHECK(std::any_of(checkpoint.mounts.begin(), checkpoint.mounts.end(), [](const Mount& mount) {
        return mount.mountpoint == "/proc" && mount.filesystem == "proc";
    }));

    Findings findings;
    AddressSpace memory(source, shell, findings);
    bool complete = false;
    std::string arguments = read_range(memory, shell.arguments, 4096, complete);
    CHECK(complete);
    CHECK(arguments.starts_with(std::string("/bin/sh\0-c\0i=0; while true", 26)));
    CHECK(read_range(memory, shell.environment, 4096, complete).find("FIXTURE=yes") != std::string::npos);
}

TEST_CASE("threads, a zombie and a child of the kitchen are told apart") {
    DirectorySource source = fixture("kitchen");
    Checkpoint checkpoint = load_checkpoint(source);
    REQUIRE(checkpoint.processes.size() == 3);
    const Process& kitchen = process_named(checkpoint, "kitchen", ProcessState::alive);
    REQUIRE(kitchen.threads.size() == 3);
    CHECK(kitchen.threads[1].comm == "worker-1");
    CHECK(kitchen.threads[2].comm == "worker-2");
    for (const Thread& thread : kitchen.threads) {
        auto ip = thread.register_named("rip");
        REQUIRE(ip.has_value());
        CHECK((*ip >= kitchen.code_start && *ip < kitchen.code_end));
    }
    CHECK(process_named(checkpoint, "kitchen", ProcessState::zombie).exit_code == 7 << 8);
    CHECK(process_named(checkpoint, "child", ProcessState::alive).ppid == kitchen.pid);
}

TEST_CASE("every open file of the kitchen has its kind and its description") {
    Checkpoint checkpoint = load_checkpoint(fixture("kitchen"));
    const Process& kitchen = process_named(checkpoint, "kitchen", ProcessState::alive);
    std::map<uint32_t, const File*> open;
    std::map<uint32_t, bool> close_on_exec;
    for (const FileDescriptor& descriptor : kitchen.fds) {
        open[descriptor.fd] = checkpoint.find_file(descriptor.file_id);
        close_on_exec[descriptor.fd] = descriptor.close_on_exec;
        REQUIRE(open[descriptor.fd] != nullptr);
    }
    REQUIRE(open.size() == 18);
    CHECK(open[0]->description == "/dev/null");
    CHECK(open[3]->kind == FileKind::pipe);
    CHECK(open[3]->description == open[4]->description);
    CHECK(open[5]->socket->peer_inode == open[6]->socket->inode);
    CHECK(open[7]->description == "unix stream /tmp/kitchen.sock LISTEN");
    CHECK(open[8]->description == "tcp 127.0.0.1:6379 LISTEN");
    CHECK(open[8]->socket->backlog == 7);
    CHECK(close_on_exec[8]);
    CHECK_FALSE(close_on_exec[9]);
    CHECK(open[9]->description == "udp6 [::]:5353");
    CHECK(open[10]->description == "eventfd, count 42");
    CHECK(open[11]->description == "eventpoll, watching 10");
    CHECK(open[12]->kind == FileKind::timerfd);
    CHECK(open[13]->description == "signalfd, mask 0x1");
    CHECK(open[14]->kind == FileKind::inotify);
    CHECK(open[15]->path == "/tmp/deleted");
    CHECK(open[15]->deleted);
    CHECK(open[15]->position == 24u);
    CHECK_FALSE(open[0]->deleted);
    CHECK(open[16]->description == "memfd:scratch");
    CHECK(open[16]->size == 8192u);
    CHECK(open[17]->kind == FileKind::fifo);
    CHECK(open[17]->description == "/tmp/queue");
}

TEST_CASE("the memory of the kitchen holds what the program wrote, shared memory included") {
    DirectorySource source = fixture("kitchen");
    Checkpoint checkpoint = load_checkpoint(source);
    const Process& kitchen = process_named(checkpoint, "kitchen", ProcessState::alive);
    Findings findings;
    AddressSpace memory(source, kitchen, findings);
    for (int page = 0; page < 16; ++page) {
        CHECK(text_at(memory, 0x200000000000 + static_cast<uint64_t>(page) * 4096) ==
              "page " + std::to_string(page) + " of the pattern");
    }
    CHECK(text_at(memory, 0x200001000000) == "first shared page");
    CHECK(text_at(memory, 0x200002000000) == "in the memfd");
    std::vector<std::byte> untouched(256 * 4096);
    auto spans = memory.read(0x200004000000, untouched);
    REQUIRE(spans.size() == 1);
    CHECK(spans[0].state == PageState::zero);
}

TEST_CASE("mappings of the kitchen have their kinds") {
    Checkpoint checkpoint = load_checkpoint(fixture("kitchen"));
    const Process& kitchen = process_named(checkpoint, "kitchen", ProcessState::alive);
    std::map<MappingKind, int> kinds;
    for (const Mapping& mapping : kitchen.mappings) {
        ++kinds[mapping.kind];
        if (mapping.kind == MappingKind::heap) CHECK(mapping.end == kitchen.brk);
        if (mapping.is_file()) CHECK(mapping.path == "/bin/kitchen");
        if (mapping.start == 0x200002000000) CHECK(mapping.kind == MappingKind::memfd);
        if (mapping.start == 0x200001000000) CHECK(mapping.kind == MappingKind::anonymous_shared);
    }
    CHECK(kinds[MappingKind::heap] == 1);
    CHECK(kinds[MappingKind::stack] == 1);
    CHECK(kinds[MappingKind::vdso] == 1);
    CHECK(kinds[MappingKind::vvar] >= 1);
    CHECK(kinds[MappingKind::unknown] == 0);
}

TEST_CASE("any image cut inside an entry says so, and so do pstree and pagemaps cut between two") {
    MemorySource whole = copy_of(fixture("kitchen"));
    for (const auto& [name, content] : whole.files) {
        auto found = find_image_kind(name);
        if (!found || !is_parsed(*found->kind)) continue;
        std::set<size_t> boundaries = entry_boundaries(*found->kind, content);
        std::string_view kind = found->kind->name;
        MemorySource cut = whole;
        // Registers are nine tenths of a core and all alike here.
        size_t step = kind == "CORE" ? 7 : 1;
        for (size_t size = 0; size < content.size(); size += step) {
            bool looks_whole = boundaries.contains(size);
            if (looks_whole && kind != "PSTREE" && !kind.ends_with("PAGEMAP")) continue;
            cut.files[name] = content.substr(0, size);
            INFO(name << " cut to " << size);
            REQUIRE_FALSE(load_all(cut).empty());
        }
    }
}

TEST_CASE("images with flipped bits do no harm") {
    MemorySource whole = copy_of(fixture("kitchen"));
    for (const auto& [name, content] : whole.files) {
        auto found = find_image_kind(name);
        if (!found || !is_parsed(*found->kind)) continue;
        MemorySource flipped = whole;
        size_t step = std::string_view(found->kind->name) == "CORE" ? 7 : 1;
        for (size_t byte = 0; byte < content.size(); byte += step) {
            flipped.files[name] = content;
            flipped.files[name][byte] = static_cast<char>(content[byte] ^ (1 << (byte * 5 % 8)));
            load_all(flipped);
        }
    }
    SUCCEED("no crash and no hang");
}

TEST_CASE("a missing image is a finding that names it, and the rest is loaded") {
    MemorySource whole = copy_of(fixture("kitchen"));
    for (const auto& [name, content] : whole.files) {
        auto found = find_image_kind(name);
        if (!found || !is_parsed(*found->kind)) continue;
        std::string_view kind = found->kind->name;
        // Their absence is no damage: they exist only when there is something to say, or are kept elsewhere.
        if (kind == "MNTS" || kind == "UTSNS" || kind == "STATS" || kind == "REMAP_FPATH") continue;
        // Nor is it when there is no descriptor (generations_test.cpp).
        if (kind == "FDINFO") continue;
        MemorySource without = whole;
        without.files.erase(name);
        INFO(name);
        Findings findings = load_all(without);
        CHECK(
            std::any_of(findings.begin(), findings.end(), [&](const Finding& f) { return f.file == name; }));
        if (kind != "PSTREE") CHECK(load_checkpoint(without).processes.size() == 3);
    }
}

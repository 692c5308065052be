#include "inspect/diff.h"

#include <fcntl.h>
#include <sys/mman.h>

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <map>

#include "images/directory_source.h"
#include "images/proto/content.pb.h"
#include "images/proto/memory.pb.h"
#include "tests/images/image_builder.h"

using namespace cprewind::inspect;
namespace images = cprewind::images;
namespace criu = cprewind::criu;
using images::test::MemorySource;

namespace {

struct Loaded {
    explicit Loaded(const std::string& name)
        : source(std::string(CPREWIND_FIXTURES "/") + name), checkpoint(images::load_checkpoint(source)) {}
    images::DirectorySource source;
    images::Checkpoint checkpoint;
    Moment moment() const { return {checkpoint, source}; }
};

// One process whose memory is written as one letter for each page from 0x10000 on: '.' not dumped, '0' dumped
// but all zero, '?' in a parent that is lost, anything else a page full of that letter. Mapped as far as the
// letters go.
struct Made {
    MemorySource source;
    images::Checkpoint checkpoint;

    explicit Made(const std::string& letters, images::MappingKind kind = images::MappingKind::anonymous) {
        images::Process process;
        process.pid = {1};
        process.state = images::ProcessState::alive;
        process.comm = "made";
        if (!letters.empty()) {
            images::Mapping mapping;
            mapping.start = 0x10000;
            mapping.end = 0x10000 + letters.size() * 4096;
            mapping.kind = kind;
            mapping.protection = PROT_READ;
            mapping.flags = kind == images::MappingKind::anonymous_shared ? MAP_SHARED : MAP_PRIVATE;
            mapping.shmid = 5;
            process.mappings.push_back(mapping);
        }
        bool shared = kind == images::MappingKind::anonymous_shared;
        write_pages("PAGEMAP", "pagemap-1.img", 1, 0x10000, shared ? "" : letters);
        if (shared) write_pages("SHMEM_PAGEMAP", "pagemap-shmem-5.img", 2, 0, letters);
        checkpoint.processes.push_back(process);
    }
    Moment moment() const { return {checkpoint, source}; }

 private:
    void write_pages(const char* kind, const char* name, uint32_t id, uint64_t address,
                     const std::string& letters) {
        criu::pagemap_head head;
        head.set_pages_id(id);
        std::string map = images::test::make_image(kind, head), pages;
        for (char letter : letters) {
            criu::pagemap_entry run;
            run.set_vaddr(address);
            run.set_compat_nr_pages(1);
            run.set_flags(letter == '?' ? 1 : 4);
            if (letter != '.') images::test::append_entry(map, run);
            if (letter != '.' && letter != '?') pages.append(4096, letter == '0' ? '\0' : letter);
            address += 4096;
        }
        source.files[name] = map;
        source.files["pages-" + std::to_string(id) + ".img"] = pages;
    }
};

PageChanges compare(const std::string& a, const std::string& b,
                    images::MappingKind kind = images::MappingKind::anonymous) {
    Made before(a, kind), after(b, kind);
    MemoryDiff diff = diff_memory(before.moment(), after.moment());
    return diff.total;
}

const ProcessMemoryDiff& memory_of(const MemoryDiff& diff, const std::string& comm) {
    for (const auto& process : diff.processes) {
        if (process.comm == comm && process.page_size != 0 && (process.pages.equal > 0)) return process;
    }
    FAIL("no memory of " << comm);
    return diff.processes.front();
}

}  // namespace

TEST_CASE("a checkpoint does not differ from itself, in nothing") {
    for (const char* name : {"counter", "kitchen"}) {
        Loaded one(name), other(name);
        CHECK(diff_processes(one.moment(), other.moment()).same());
        CHECK(diff_fds(one.moment(), other.moment()).same());
        MemoryDiff memory = diff_memory(one.moment(), other.moment());
        CHECK(memory.same());
        CHECK(memory.total.equal > 30);
    }
}

TEST_CASE("what the kitchen changed in its memory is found, to the page") {
    Loaded before("kitchen"), after("kitchen-later");
    MemoryDiff diff = diff_memory(before.moment(), after.moment());
    CHECK(diff.findings.empty());
    CHECK_FALSE(diff.same());
    const ProcessMemoryDiff& kitchen = memory_of(diff, "kitchen");

    PageChanges pattern, fresh;
    for (const MappingPages& mapping : kitchen.by_mapping) {
        if (mapping.range.start == 0x200000000000) pattern += mapping.pages;
        if (mapping.range.start == 0x200003000000) fresh += mapping.pages;
    }
    CHECK(pattern.changed == 1);
    CHECK(pattern.zeroed == 1);
    CHECK(pattern.gone == 1);
    CHECK(pattern.added == 0);
    CHECK(fresh.added == 1);
    CHECK(diff.shared.added == 1);
    CHECK(diff.shared.equal == 2);
    CHECK(memory_of(diff, "child").pages.different() == 0);

    std::map<uint64_t, MappingFate> mappings;
    for (const MappingChange& change : kitchen.mappings) {
        mappings[std::max(change.before.start, change.after.start)] = change.fate;
    }
    CHECK(mappings.at(0x200000000000) == MappingFate::shrunk);
    CHECK(mappings.at(0x200003000000) == MappingFate::added);
    CHECK(mappings.size() == 2);
}

TEST_CASE("what the kitchen opened and closed is found") {
    Loaded before("kitchen"), after("kitchen-later");
    FdDiff diff = diff_fds(before.moment(), after.moment());
    std::vector<const FdChange*> own;
    for (const FdChange& change : diff.changes) {
        if (change.comm == "kitchen") own.push_back(&change);
    }
    REQUIRE(own.size() == 2);
    CHECK(own[0]->fd == 3);
    CHECK(own[0]->fate == FdFate::closed);
    CHECK(own[1]->fate == FdFate::opened);
    CHECK(own[1]->target == "/tmp/opened-later");
    CHECK(diff.changes.size() == 2);
    CHECK(diff_processes(before.moment(), after.moment()).same());
}

TEST_CASE("each thing that can change about a descriptor is named") {
    Made before("a");
    images::File file;
    file.id = 1;
    file.kind = images::FileKind::regular;
    file.description = "/log";
    file.position = 5;
    before.checkpoint.files[1] = file;
    before.checkpoint.processes[0].fds.push_back({3, 1, false});
    auto changed = [&](const images::File& now, bool close_on_exec = false) {
        images::Checkpoint after = before.checkpoint;
        after.files[1] = now;
        after.processes[0].fds[0].close_on_exec = close_on_exec;
        FdDiff diff = diff_fds(before.moment(), {after, before.source});
        REQUIRE(diff.changes.size() == 1);
        REQUIRE(diff.changes[0].changes.size() == 1);
        return diff.changes[0].changes[0].field;
    };
    auto with = [&](auto change) {
        images::File now = file;
        change(now);
        return changed(now);
    };
    CHECK(with([](images::File& now) { now.position = 6; }) == "position");
    CHECK(with([](images::File& now) { now.description = "/other"; }) == "target");
    CHECK(with([](images::File& now) { now.size = 1; }) == "size");
    CHECK(with([](images::File& now) { now.flags = 1; }) == "flags");
    CHECK(with([](images::File& now) { now.kind = images::FileKind::fifo; }) == "kind");
    CHECK(with([](images::File& now) { now.deleted = true; }) == "deleted");
    CHECK(changed(file, true) == "close_on_exec");

    images::Checkpoint renumbered = before.checkpoint;
    before.checkpoint.files[1].description = "unix stream [12] -> [345]";
    renumbered.files[1].description = "unix stream [7] -> [8]";
    Moment then = before.moment(), now{renumbered, before.source};
    CHECK(diff_fds(then, now).changes.size() == 1);
    CHECK(diff_fds(then, now, {}, true).same());
    renumbered.files[1].description = "pipe:[7]";
    CHECK_FALSE(diff_fds(then, now, {}, true).same());
}

TEST_CASE("each way in which a page can differ has its own count") {
    PageChanges changes = compare("aab", "abb");
    CHECK(changes.equal == 2);
    CHECK(changes.changed == 1);
    CHECK(compare("a", "0").zeroed == 1);
    CHECK(compare("a", ".").zeroed == 1);
    CHECK(compare(".", "a").added == 1);
    CHECK(compare("0", "a").added == 1);
    CHECK(compare("a", "a?").unknown == 1);
    CHECK(compare("?a", "xa").unknown == 1);
    CHECK(compare("a", "").gone == 1);
    CHECK(compare("", "a").added == 1);
}

TEST_CASE("a zero page is a zero page, dumped or not") {
    CHECK(compare("0", ".").different() == 0);
    CHECK(compare(".", "0").different() == 0);
    CHECK(compare("0", "0").equal == 1);
    CHECK(compare("...", "...").equal == 0);
}

TEST_CASE("in a file mapping a page of its own is added to the file's or gone back to it") {
    constexpr auto k_file = images::MappingKind::file_private;
    CHECK(compare(".", "a", k_file).added == 1);
    CHECK(compare("a", ".", k_file).gone == 1);
    CHECK(compare(".", ".", k_file).different() == 0);
}

TEST_CASE(
    "shared memory is compared once, however many processes map it, and by place when its number changed") {
    constexpr auto k_shared = images::MappingKind::anonymous_shared;
    Made before("ab", k_shared), after("ac", k_shared);
    for (Made* side : {&before, &after}) {
        images::Process second = side->checkpoint.processes[0];
        second.pid = {2};
        side->checkpoint.processes.push_back(second);
        side->source.files["pagemap-2.img"] = side->source.files["pagemap-1.img"];
    }
    MemoryDiff diff = diff_memory(before.moment(), after.moment());
    CHECK(diff.total.changed == 1);
    CHECK(diff.total.equal == 1);
    CHECK(diff.shared.changed == 1);

    for (images::Process& process : after.checkpoint.processes) process.mappings[0].shmid = 6;
    after.source.files["pagemap-shmem-6.img"] = after.source.files["pagemap-shmem-5.img"];
    CHECK(diff_memory(before.moment(), after.moment()).total.changed == 1);
}

TEST_CASE("memory of a process that is new or gone counts as added or gone") {
    Made before("ab"), after("abc");
    after.checkpoint.processes[0].pid = {2};
    after.source.files["pagemap-2.img"] = after.source.files["pagemap-1.img"];
    MemoryDiff diff = diff_memory(before.moment(), after.moment());
    CHECK(diff.total.gone == 2);
    CHECK(diff.total.added == 3);
    CHECK_FALSE(diff.same());
    REQUIRE(diff.processes.size() == 2);
    CHECK(diff.processes[0].only_in_a);
    CHECK(diff.processes[1].only_in_b);
}

TEST_CASE("changes of mappings have their names") {
    Made before("aa"), after("aa");
    auto fate = [&] {
        auto changes = diff_memory(before.moment(), after.moment()).processes.at(0).mappings;
        REQUIRE(changes.size() == 1);
        return changes[0].fate;
    };
    images::Mapping& mapping = after.checkpoint.processes[0].mappings[0];
    const images::Mapping original = mapping;
    mapping.end += 4096;
    CHECK(fate() == MappingFate::grown);
    mapping = original;
    mapping.start -= 4096;
    CHECK(fate() == MappingFate::grown);
    mapping = original;
    mapping.end -= 4096;
    CHECK(fate() == MappingFate::shrunk);
    mapping = original;
    mapping.protection = PROT_READ | PROT_EXEC;
    CHECK(fate() == MappingFate::protection);
    mapping = original;
    mapping.path = "/another";
    CHECK(fate() == MappingFate::replaced);
    after.checkpoint.processes[0].mappings.clear();
    CHECK(fate() == MappingFate::removed);
}

TEST_CASE("a process is the same, changed, exec'd, new or gone") {
    Made before("a"), after("a");
    images::Process& process = after.checkpoint.processes[0];
    CHECK(diff_processes(before.moment(), after.moment()).unchanged == 1);
    process.cwd = "/elsewhere";
    ProcessDiff changed = diff_processes(before.moment(), after.moment());
    REQUIRE(changed.changes.size() == 1);
    CHECK(changed.changes[0].fate == ProcessFate::same);
    CHECK(changed.changes[0].changes.at(0).field == "cwd");
    process.stack_start = 0x7000;
    CHECK(diff_processes(before.moment(), after.moment()).changes.at(0).fate == ProcessFate::execed);
    process.pid = {9};
    ProcessDiff replaced = diff_processes(before.moment(), after.moment());
    REQUIRE(replaced.changes.size() == 2);
    CHECK(replaced.changes[0].fate == ProcessFate::gone);
    CHECK(replaced.changes[1].fate == ProcessFate::added);
}

TEST_CASE("a pid that another process took over is one gone and one new, in all parts") {
    Made before("ab"), after("ab");
    images::File file;
    file.id = 1;
    file.description = "/log";
    for (Made* side : {&before, &after}) {
        side->checkpoint.files[1] = file;
        side->checkpoint.processes[0].fds.push_back({3, 1, false});
    }
    after.checkpoint.files[1].description = "/other";
    PidSet reused = reused_pids({{{1}, 5}, {{2}, 6}}, {{{1}, 5}, {{2}, 6}});
    CHECK(reused.empty());
    // A restore gives every process a new time: nothing can be said.
    CHECK(reused_pids({{{1}, 5}, {{2}, 6}}, {{{1}, 9}, {{2}, 9}}).empty());
    CHECK(reused_pids({{{1}, 5}, {{2}, 6}}, {{{1}, 5}, {{2}, 7}}) == PidSet{{2}});
    reused = {{1}};
    ProcessDiff processes = diff_processes(before.moment(), after.moment(), reused);
    REQUIRE(processes.changes.size() == 2);
    CHECK(processes.changes[0].fate == ProcessFate::gone);
    CHECK(processes.changes[1].fate == ProcessFate::added);
    CHECK(diff_fds(before.moment(), after.moment()).changes.size() == 1);
    CHECK(diff_fds(before.moment(), after.moment(), reused).same());
    MemoryDiffOptions options;
    options.reused = reused;
    MemoryDiff memory = diff_memory(before.moment(), after.moment(), options);
    REQUIRE(memory.processes.size() == 2);
    CHECK(memory.processes[0].only_in_a);
    CHECK(memory.processes[1].only_in_b);
    CHECK(memory.total.equal == 0);
}

TEST_CASE("what waits in a pipe is told, where it is read") {
    auto with_queue = [](Made& side, const std::string& waiting) {
        for (uint32_t id : {1u, 2u}) {
            images::File file;
            file.id = id;
            file.kind = images::FileKind::pipe;
            file.object = 77;
            file.flags = id == 1 ? O_RDONLY : O_WRONLY;
            side.checkpoint.files[id] = file;
            side.checkpoint.processes[0].fds.push_back({id + 2, id, false});
        }
        criu::pipe_data_entry entry;
        entry.set_pipe_id(77);
        entry.set_bytes(static_cast<uint32_t>(waiting.size()));
        side.source.files["pipes-data.img"] = images::test::make_image("PIPES_DATA", entry) + waiting;
    };
    auto compare_queues = [&](const std::string& a, const std::string& b) {
        Made before("a"), after("a");
        with_queue(before, a);
        with_queue(after, b);
        return diff_fds(before.moment(), after.moment());
    };
    CHECK(compare_queues("hello", "hello").same());
    FdDiff diff = compare_queues("", "hello");
    REQUIRE(diff.changes.size() == 1);
    CHECK(diff.changes[0].fd == 3);
    REQUIRE(diff.changes[0].changes.size() == 1);
    CHECK(diff.changes[0].changes[0].field == "queue");
    CHECK(diff.changes[0].changes[0].before.empty());
    CHECK(diff.changes[0].changes[0].after == "5 bytes \"hello\"");
    CHECK_FALSE(compare_queues(std::string(5000, 'x') + "a", std::string(5000, 'x') + "b").same());
}

TEST_CASE("what a process does on a signal, and signals that wait, are told") {
    Made before("a"), after("a");
    before.checkpoint.processes[0].details.actions = {{.signal = 15, .handler = 0}};
    after.checkpoint.processes[0].details.actions = {{.signal = 15, .handler = 1}};
    images::PendingSignal waiting;
    waiting.signal = 10;
    after.checkpoint.processes[0].details.pending = {waiting};
    ProcessDiff diff = diff_processes(before.moment(), after.moment());
    REQUIRE(diff.changes.size() == 1);
    REQUIRE(diff.changes[0].changes.size() == 2);
    CHECK(diff.changes[0].changes[0].field == "on SIGTERM");
    CHECK(diff.changes[0].changes[0].after.starts_with("ignored"));
    CHECK(diff.changes[0].changes[1].after == "SIGUSR1");
}

TEST_CASE("memory of another architecture or page size is not compared, and it is said why") {
    Made before("a"), after("a");
    CHECK(unlike(before.moment(), after.moment()).empty());
    before.checkpoint.architecture = images::Architecture::aarch64;
    CHECK(unlike(before.moment(), after.moment()).find("aarch64") != std::string::npos);
    after.checkpoint.architecture = images::Architecture::aarch64;
    CHECK(unlike(before.moment(), after.moment()).empty());
    // One page of 64 KiB.
    after.source.files["pages-1.img"] = std::string(65536, 'a');
    after.checkpoint.processes[0].mappings[0].end = 0x10000 + 65536;
    CHECK(unlike(before.moment(), after.moment()) == "one has pages of 4096 bytes, the other of 65536");
}

TEST_CASE("progress ends at the end and never runs past it") {
    Loaded before("kitchen"), after("kitchen-later");
    uint64_t last = 0, total = 0;
    MemoryDiffOptions options;
    options.progress = [&](uint64_t done, uint64_t all) {
        CHECK(done >= last);
        CHECK(done <= all);
        last = done;
        total = all;
    };
    diff_memory(before.moment(), after.moment(), options);
    CHECK(total > 0);
}

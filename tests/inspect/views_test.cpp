// The views over the checkpoints of fixtures/README.md.
#include <fcntl.h>

#include <catch2/catch_test_macros.hpp>
#include <map>

#include "images/directory_source.h"
#include "inspect/fds.h"
#include "inspect/mem.h"
#include "inspect/overview.h"
#include "inspect/ps.h"

using namespace cprewind::inspect;
namespace images = cprewind::images;

namespace {

struct Loaded {
    explicit Loaded(const std::string& name)
        : source(std::string(CPREWIND_FIXTURES "/") + name), checkpoint(images::load_checkpoint(source)) {}
    images::DirectorySource source;
    images::Checkpoint checkpoint;
    Moment moment() const { return {checkpoint, source}; }
};

}  // namespace

TEST_CASE("ps shows the tree with whole command lines, read from memory") {
    Loaded kitchen("kitchen");
    PsView view = list_processes(kitchen.moment());
    CHECK(view.findings.empty());
    REQUIRE(view.rows.size() == 3);
    const PsRow& root = view.rows[0];
    CHECK(root.depth == 0);
    CHECK(root.arguments == std::vector<std::string>{"/bin/kitchen", "one", "", "three words here"});
    CHECK(root.arguments_complete);
    CHECK(root.threads == 3);
    CHECK(root.uid == 0u);
    CHECK(root.executable == "/bin/kitchen");
    CHECK(root.resident_bytes >= 16 * 4096);
    for (const PsRow& row : view.rows) {
        if (row.depth == 0) continue;
        CHECK(row.depth == 1);
        CHECK(row.ppid == root.pid);
        bool zombie = row.state == images::ProcessState::zombie;
        CHECK(row.comm == (zombie ? "kitchen" : "child"));
        CHECK(row.arguments.empty() == zombie);
        CHECK(row.resident_bytes == (zombie ? 0 : row.resident_bytes));
        if (zombie) CHECK(row.exit_code == 7 << 8);
    }
}

TEST_CASE("the environment is read as the program was given it") {
    Loaded counter("counter");
    images::Findings findings;
    bool complete = false;
    images::MemoryWindow memories(counter.checkpoint, counter.source, images::ExpectedStrings::environment,
                                  findings);
    auto environment = read_environment(memories, counter.checkpoint.processes.at(0), complete);
    CHECK(complete);
    CHECK(environment == std::vector<std::string>{"PATH=/bin", "FIXTURE=yes", "HOME=/"});
    CHECK(findings.empty());
}

TEST_CASE("fds shows every descriptor of every process, in order") {
    Loaded kitchen("kitchen");
    std::vector<FdRow> rows = list_fds(kitchen.checkpoint);
    REQUIRE(rows.size() == 36);
    for (size_t i = 0; i < 18; ++i) {
        CHECK(rows[i].fd == i);
        CHECK(rows[i].comm == "kitchen");
        CHECK(rows[i + 18].comm == "child");
        // The child has them from its parent: the same open files.
        CHECK(rows[i].file_id == rows[i + 18].file_id);
    }
    CHECK(rows[15].deleted);
    CHECK(flag_names(rows[15].flags) == "rw,append");
    CHECK(flag_names(O_RDONLY) == "r");
    CHECK(flag_names(O_WRONLY | O_NONBLOCK) == "w,nonblock");
}

TEST_CASE("mem counts every page of every mapping exactly once") {
    for (const char* name : {"counter", "kitchen", "kitchen-later"}) {
        Loaded loaded(name);
        MemView view = list_memory(loaded.moment());
        CHECK(view.findings.empty());
        for (const ProcessMemory& process : view.processes) {
            uint64_t dumped = 0;
            for (const MemRow& row : process.rows) {
                CHECK(row.pages.total() * process.page_size == row.end - row.start);
                CHECK(row.pages.absent == 0);
                dumped += row.dumped_bytes;
            }
            CHECK(dumped == process.dumped_bytes);
            CHECK(process.pages.total() * process.page_size == process.mapped_bytes);
        }
    }
}

TEST_CASE("mem tells what is stored from what is zero and from what is in files") {
    Loaded kitchen("kitchen");
    MemView view = list_memory(kitchen.moment());
    REQUIRE(view.processes.size() == 2);
    std::map<uint64_t, MemRow> rows;
    for (const MemRow& row : view.processes[0].rows) rows[row.start] = row;
    const MemRow& pattern = rows.at(0x200000000000);
    CHECK(pattern.pages.present == 16);
    CHECK(pattern.protection == "rw-p");
    CHECK(pattern.kind == images::MappingKind::anonymous);
    CHECK(rows.at(0x200004000000).pages.zero == 256);
    const MemRow& shared = rows.at(0x200001000000);
    CHECK(shared.protection == "rw-s");
    CHECK(shared.pages.present == 1);
    CHECK(shared.pages.zero == 3);
    CHECK(rows.at(0x200002000000).path == "memfd:scratch");
    CHECK(rows.at(0x400000).pages.file > 0);
}

TEST_CASE("the overview counts each thing once") {
    Loaded kitchen("kitchen");
    Overview overview = make_overview(kitchen.moment());
    CHECK(overview.findings.empty());
    CHECK(overview.hostname == "fixture");
    CHECK(overview.architecture == "x86_64");
    CHECK(overview.root_command == "kitchen");
    CHECK(overview.processes == 3);
    CHECK(overview.zombies == 1);
    CHECK(overview.threads == 5);
    // Standard output and error are one open pipe, and the child shares all with its parent.
    CHECK(overview.open_files == 17);
    CHECK(overview.files_by_kind.at("pipe") == 3);
    CHECK(overview.files_by_kind.at("unix") == 3);
    CHECK(overview.listening_sockets == 2);
    CHECK(overview.mounts > 3);
    uint64_t pages = 0;
    for (const std::string& name : kitchen.source.list()) {
        if (name.starts_with("pages-")) pages += kitchen.source.open(name)->size();
    }
    CHECK(overview.dumped_bytes == pages);
    CHECK(overview.image_bytes > pages);
    REQUIRE(overview.statistics.has_value());
}

#include "images/checkpoint.h"

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <set>

#include "images/proto/files.pb.h"
#include "images/proto/memory.pb.h"
#include "images/proto/process.pb.h"
#include "images/proto/system.pb.h"
#include "tests/images/image_builder.h"

using namespace cprewind::images;
using namespace cprewind::images::test;
namespace criu = cprewind::criu;

namespace {

void append_process(std::string& pstree, uint32_t pid, uint32_t ppid, std::vector<uint32_t> threads = {}) {
    criu::pstree_entry entry;
    entry.set_pid(pid);
    entry.set_ppid(ppid);
    entry.set_pgid(1);
    entry.set_sid(1);
    if (threads.empty()) threads.push_back(pid);
    for (uint32_t tid : threads) entry.add_threads(tid);
    append_entry(pstree, entry);
}

criu::core_entry make_core(uint32_t state) {
    criu::core_entry core;
    core.set_mtype(criu::core_entry::X86_64);
    criu::task_core_entry& task = *core.mutable_tc();
    task.set_task_state(state);
    task.set_exit_code(0x700);
    task.set_personality(0);
    task.set_flags(0);
    task.set_blk_sigset(0);
    task.set_comm("prog");
    return core;
}

// Zombies need no images but their core.
MemorySource make_zombies(const std::vector<std::pair<uint32_t, uint32_t>>& pids_and_parents) {
    MemorySource source;
    std::string pstree = make_head(image_kind("PSTREE"));
    for (auto [pid, ppid] : pids_and_parents) {
        append_process(pstree, pid, ppid);
        source.files["core-" + std::to_string(pid) + ".img"] = make_image("CORE", make_core(2));
    }
    source.files["pstree.img"] = pstree;
    criu::inventory_entry inventory;
    inventory.set_img_version(2);
    source.files["inventory.img"] = make_image("INVENTORY", inventory);
    source.files["files.img"] = make_image("FILES");
    return source;
}

std::vector<uint32_t> pids_of(const Checkpoint& checkpoint) {
    std::vector<uint32_t> pids;
    for (const Process& process : checkpoint.processes) pids.push_back(process.pid.value);
    return pids;
}

std::vector<uint32_t> depths_of(const Checkpoint& checkpoint) {
    std::vector<uint32_t> depths;
    for (const Process& process : checkpoint.processes) depths.push_back(process.depth);
    return depths;
}

}  // namespace

TEST_CASE("processes come depth first, whatever their order in the image") {
    Checkpoint checkpoint = load_checkpoint(make_zombies({{4, 2}, {1, 0}, {2, 1}, {3, 1}}));
    CHECK(pids_of(checkpoint) == std::vector<uint32_t>{1, 2, 4, 3});
    CHECK(depths_of(checkpoint) == std::vector<uint32_t>{0, 1, 2, 1});
    CHECK(checkpoint.findings.empty());
    CHECK(checkpoint.processes[0].state == ProcessState::zombie);
    CHECK(checkpoint.processes[0].exit_code == 0x700);
}

TEST_CASE("circles of parents are cut open and every process is shown once") {
    for (const auto& tree : std::vector<std::vector<std::pair<uint32_t, uint32_t>>>{
             {{5, 5}}, {{1, 0}, {2, 3}, {3, 2}}, {{7, 9}, {8, 7}, {9, 8}, {10, 9}}}) {
        Checkpoint checkpoint = load_checkpoint(make_zombies(tree));
        CHECK(checkpoint.processes.size() == tree.size());
        CHECK_FALSE(checkpoint.findings.empty());
    }
}

TEST_CASE("a pid that appears twice holds once, and a lost parent makes a root") {
    Checkpoint twice = load_checkpoint(make_zombies({{1, 0}, {2, 1}, {2, 1}}));
    CHECK(pids_of(twice) == std::vector<uint32_t>{1, 2});
    CHECK(twice.findings.size() == 1);
    Checkpoint orphan = load_checkpoint(make_zombies({{1, 0}, {3, 2}}));
    CHECK(depths_of(orphan) == std::vector<uint32_t>{0, 0});
    CHECK(orphan.findings.size() == 1);
}

TEST_CASE("a chain of parents as long as the images allow does not exhaust the stack") {
    std::vector<std::pair<uint32_t, uint32_t>> chain;
    for (uint32_t pid = 1; pid <= 20'000; ++pid) chain.emplace_back(pid, pid - 1);
    MemorySource source = make_zombies(chain);
    CHECK(load_checkpoint(source).processes.back().depth == 19'999);
}

TEST_CASE("absurd counts of processes and threads stop at a limit and say so") {
    MemorySource source = make_zombies({{1, 0}});
    std::string pstree = make_head(image_kind("PSTREE"));
    for (uint32_t pid = 1; pid <= 120'000; ++pid) append_process(pstree, pid, pid == 1 ? 0 : 1);
    source.files["pstree.img"] = pstree;
    Checkpoint checkpoint = load_checkpoint(source);
    CHECK(checkpoint.processes.size() == 100'000);
    CHECK(checkpoint.findings.size() <= 10'000);

    std::vector<uint32_t> threads(1'000'000);
    for (uint32_t i = 0; i < threads.size(); ++i) threads[i] = i + 1;
    pstree = make_head(image_kind("PSTREE"));
    append_process(pstree, 1, 0, threads);
    source.files["pstree.img"] = pstree;
    checkpoint = load_checkpoint(source);
    CHECK(checkpoint.processes.at(0).threads.size() <= 200'001);
    CHECK(checkpoint.findings.size() <= 10'000);
}

TEST_CASE("the leader is the first thread, also when the image lists it elsewhere or not at all") {
    MemorySource source = make_zombies({{1, 0}});
    source.files["core-1.img"] = make_image("CORE", make_core(1));
    for (const auto& threads : std::vector<std::vector<uint32_t>>{{5, 6, 1}, {5, 6}, {1, 5, 6}}) {
        std::string pstree = make_head(image_kind("PSTREE"));
        append_process(pstree, 1, 0, threads);
        source.files["pstree.img"] = pstree;
        auto loaded = load_checkpoint(source).processes.at(0).threads;
        REQUIRE(loaded.size() == 3);
        CHECK(loaded[0].tid.value == 1);
        CHECK(loaded[1].tid.value == 5);
    }
}

TEST_CASE("a zombie has its leader alone, whatever CRIU left in its list of threads") {
    MemorySource source = make_zombies({{1, 0}});
    std::string pstree = make_head(image_kind("PSTREE"));
    append_process(pstree, 1, 0, {4053974640u});
    source.files["pstree.img"] = pstree;
    Checkpoint checkpoint = load_checkpoint(source);
    CHECK(checkpoint.findings.empty());
    REQUIRE(checkpoint.processes.at(0).threads.size() == 1);
    CHECK(checkpoint.processes.at(0).threads[0].tid.value == 1);
}

TEST_CASE("a core that pstree.img does not explain is a finding") {
    MemorySource source = make_zombies({{1, 0}});
    source.files["core-99.img"] = make_image("CORE", make_core(2));
    Checkpoint checkpoint = load_checkpoint(source);
    REQUIRE(checkpoint.findings.size() == 1);
    CHECK(checkpoint.findings[0].file == "core-99.img");
}

TEST_CASE("an image with an unknown name, a wrong magic or a cipher is a finding") {
    MemorySource source = make_zombies({{1, 0}});
    source.files["surprise.img"] = "?";
    source.files["cipher.img"] = "?";
    source.files["tty-data.img"] = make_head(image_kind("MM"));
    source.files["descriptors.json"] = "[]";
    source.files["dump.log"] = "";
    std::set<std::string> files;
    for (const Finding& finding : load_checkpoint(source).findings) files.insert(finding.file);
    CHECK(files == std::set<std::string>{"surprise.img", "cipher.img", "tty-data.img"});
}

TEST_CASE("nothing at all still gives a checkpoint, with findings") {
    Checkpoint checkpoint = load_checkpoint(MemorySource());
    CHECK(checkpoint.processes.empty());
    CHECK_FALSE(checkpoint.findings.empty());
}

TEST_CASE("aarch64 registers are read, page size and all") {
    MemorySource source = make_zombies({{1, 0}});
    criu::core_entry core = make_core(2);
    core.set_mtype(criu::core_entry::AARCH64);
    auto& registers = *core.mutable_ti_aarch64()->mutable_gpregs();
    for (uint64_t i = 0; i < 31; ++i) registers.add_regs(i * 0x11);
    registers.set_sp(0xfffff0);
    registers.set_pc(0x400100);
    registers.set_pstate(0x60000000);
    core.mutable_ti_aarch64()->set_clear_tid_addr(0);
    core.mutable_ti_aarch64()->set_tls(0);
    core.mutable_ti_aarch64()->mutable_fpsimd()->set_fpsr(0);
    core.mutable_ti_aarch64()->mutable_fpsimd()->set_fpcr(0);
    source.files["core-1.img"] = make_image("CORE", core);
    Checkpoint checkpoint = load_checkpoint(source);
    CHECK(checkpoint.findings.empty());
    CHECK(checkpoint.architecture == Architecture::aarch64);
    CHECK(checkpoint.processes.at(0).threads.at(0).register_named("pc") == 0x400100u);
    CHECK(checkpoint.processes.at(0).threads.at(0).register_named("x30") == 30u * 0x11);
    CHECK_FALSE(checkpoint.processes.at(0).threads.at(0).register_named("rip").has_value());
}

TEST_CASE("files of every kind have a description, and a kind from the future is unknown") {
    MemorySource source = make_zombies({{1, 0}});
    std::string files = make_head(image_kind("FILES"));
    for (uint32_t type = 1; type <= 21; ++type) {
        // Only the type and the id: the part that belongs to the type is lost.
        std::string raw{'\x08', static_cast<char>(type), '\x10', static_cast<char>(type)};
        cprewind::base::append_text(files, raw);
    }
    source.files["files.img"] = files;
    Checkpoint checkpoint = load_checkpoint(source);
    REQUIRE(checkpoint.files.size() == 21);
    for (const auto& [id, file] : checkpoint.files) {
        INFO(id);
        CHECK_FALSE(file.description.empty());
        CHECK((file.kind == FileKind::unknown) == (id == 21));
    }
    CHECK(checkpoint.findings.size() >= 16);
}

TEST_CASE("of two files with one id the first holds and the second is a finding") {
    MemorySource source = make_zombies({{1, 0}});
    criu::file_entry first, second;
    first.set_id(3);
    first.set_type(criu::REG);
    first.mutable_reg()->set_name("/first");
    second = first;
    second.mutable_reg()->set_name("/second");
    source.files["files.img"] = make_image("FILES", first, second);
    Checkpoint checkpoint = load_checkpoint(source);
    REQUIRE(checkpoint.find_file(3) != nullptr);
    CHECK(checkpoint.find_file(3)->path == "/first");
    CHECK(std::any_of(checkpoint.findings.begin(), checkpoint.findings.end(), [](const Finding& finding) {
        return finding.message == "a second file with the id 3";
    }));
}

TEST_CASE("mappings that overlap or go backwards are dropped with a finding") {
    MemorySource source = make_zombies({{1, 0}});
    source.files["core-1.img"] = make_image("CORE", make_core(1));
    criu::mm_entry mm;
    auto add = [&](uint64_t start, uint64_t end) {
        criu::vma_entry& vma = *mm.add_vmas();
        vma.set_start(start);
        vma.set_end(end);
        vma.set_status(1 | (1u << 9));
    };
    add(0x1000, 0x3000);
    add(0x2000, 0x4000);
    add(0x9000, 0x8000);
    add(0x5000, 0x5000);
    add(0xa000, 0xb000);
    source.files["mm-1.img"] = make_image("MM", mm);
    Checkpoint checkpoint = load_checkpoint(source);
    REQUIRE(checkpoint.processes.at(0).mappings.size() == 2);
    CHECK(checkpoint.processes.at(0).mappings[1].start == 0xa000);
}

TEST_CASE("guard ranges are part of the mapping they lie in, and a finding when they lie in none") {
    MemorySource source = make_zombies({{1, 0}});
    source.files["core-1.img"] = make_image("CORE", make_core(1));
    criu::mm_entry mm;
    auto add = [&](uint64_t start, uint64_t end, uint32_t status) {
        criu::vma_entry& vma = *mm.add_vmas();
        vma.set_start(start);
        vma.set_end(end);
        vma.set_status(status);
    };
    add(0x1000, 0x5000, 1 | (1u << 9));
    add(0x5000, 0x6000, 1 | (1u << 9));
    add(0x8000, 0x9000, 1 | (1u << 9));
    add(0x1000, 0x2000, 1u << 16);
    add(0x4000, 0x6000, 1u << 16);
    for (auto [start, end] : {std::pair{0x4000, 0x7000}, {0x0, 0x1000}, {0x6000, 0x7000}, {0x3000, 0x2000}}) {
        add(static_cast<uint64_t>(start), static_cast<uint64_t>(end), 1u << 16);
    }
    source.files["mm-1.img"] = make_image("MM", mm);
    Checkpoint checkpoint = load_checkpoint(source);
    const Process& process = checkpoint.processes.at(0);
    CHECK(process.mappings.size() == 3);
    // One that runs on through two mappings is cut in two.
    CHECK(process.guards == std::vector<AddressRange>{{0x1000, 0x2000}, {0x4000, 0x5000}, {0x5000, 0x6000}});
    auto told = std::count_if(
        checkpoint.findings.begin(), checkpoint.findings.end(),
        [](const Finding& finding) { return finding.message.find("guard range") != std::string::npos; });
    CHECK(told == 4);
}

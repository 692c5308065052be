#include "images/memory_window.h"

#include <fmt/format.h>
#include <lz4.h>
#include <sys/mman.h>

#include <catch2/catch_test_macros.hpp>

#include "images/archive_source.h"
#include "images/proto/memory.pb.h"
#include "tests/images/image_builder.h"
#include "tests/images/tar_builder.h"

using namespace cprewind::images;
using namespace cprewind::images::test;
namespace criu = cprewind::criu;

namespace {

constexpr uint64_t k_page = 4096;
constexpr size_t k_pages = 32;

// Process `pid` has its arguments on its last page, behind so much else that nobody keeps it.
Process make_process(uint32_t pid) {
    Process process;
    process.pid = {pid};
    Mapping mapping;
    mapping.start = 0x10000;
    mapping.end = mapping.start + k_pages * k_page;
    mapping.kind = MappingKind::anonymous;
    mapping.flags = MAP_PRIVATE;
    process.mappings.push_back(mapping);
    process.arguments = {mapping.end - k_page, mapping.end - k_page + 8};
    process.environment = {mapping.end - k_page + 8, mapping.end - k_page + 16};
    return process;
}

std::string members_of(uint32_t pid) {
    criu::pagemap_head head;
    head.set_pages_id(pid);
    criu::pagemap_entry run;
    run.set_vaddr(0x10000);
    run.set_compat_nr_pages(0);
    run.set_nr_pages(k_pages);
    run.set_flags(4);
    std::string pages(k_pages * k_page, '\0');
    uint32_t state = pid;
    for (char& c : pages) c = static_cast<char>((state = state * 1664525 + 1013904223) >> 24);
    std::string strings = fmt::format("arg {0:03}#env {0:03}#", pid);
    for (char& c : strings) c = c == '#' ? '\0' : c;
    pages.replace(pages.size() - k_page, strings.size(), strings);
    return member(fmt::format("pagemap-{}.img", pid), make_image("PAGEMAP", head, run)) +
           member(fmt::format("pages-{}.img", pid), pages);
}

class CountingFile : public MemoryFile {
 public:
    explicit CountingFile(std::string content) : MemoryFile(std::move(content)) {}
    size_t read_at(uint64_t offset, std::span<std::byte> out) const override {
        if (offset == 0 && out.size() > 512) ++passes;
        return MemoryFile::read_at(offset, out);
    }
    mutable int passes = 0;
};

}  // namespace

TEST_CASE("command lines of all processes in a compressed archive come from one pass") {
    Checkpoint checkpoint;
    std::string tar;
    // Backwards: whoever goes through the processes in order goes through the archive against it.
    for (uint32_t pid = 1; pid <= 20; ++pid) checkpoint.processes.push_back(make_process(pid));
    for (uint32_t pid = 20; pid >= 1; --pid) tar += members_of(pid);
    tar += end_of_tar();
    for (const std::string& bytes : {gzip(tar), zstd(tar)}) {
        auto stored = std::make_shared<CountingFile>(bytes);
        // So little is kept that pages files, small as they are here, are not.
        ArchiveSource source(stored, "", "an archive", {}, {26, 64u << 10, 1u << 20});
        REQUIRE(source.findings().empty());
        int opening = stored->passes;
        Findings findings;
        MemoryWindow memories(checkpoint, source, ExpectedStrings::both, findings);
        for (const Process& process : checkpoint.processes) {
            bool complete = false;
            CHECK(memories.arguments_of(process, complete) ==
                  fmt::format("arg {:03}", process.pid.value) + std::string(1, '\0'));
            CHECK(complete);
            CHECK(memories.environment_of(process, complete)
                      .starts_with(fmt::format("env {:03}", process.pid.value)));
        }
        CHECK(findings.empty());
        CHECK(stored->passes == opening + 1);
    }
}

TEST_CASE("processes may be asked for in any order, and those without memory have none") {
    Checkpoint checkpoint;
    MemorySource source;
    for (uint32_t pid = 1; pid <= 300; ++pid) checkpoint.processes.push_back(make_process(pid));
    checkpoint.processes[7].state = ProcessState::zombie;
    for (uint32_t pid : {1u, 150u, 300u}) {
        ArchiveSource one(std::make_shared<MemoryFile>(members_of(pid) + end_of_tar()), "", "one");
        for (const std::string& name : one.list()) source.files[name] = *read_whole(one, name);
    }
    Findings findings;
    MemoryWindow memories(checkpoint, source, ExpectedStrings::arguments, findings);
    for (uint32_t pid : {300u, 1u, 150u, 1u}) {
        bool complete = false;
        CHECK(memories.arguments_of(checkpoint.processes[pid - 1], complete)
                  .starts_with(fmt::format("arg {:03}", pid)));
        CHECK(complete);
    }
    CHECK(memories.of(checkpoint.processes[7]) == nullptr);
    bool complete = true;
    CHECK(memories.arguments_of(checkpoint.processes[7], complete).empty());
    CHECK_FALSE(complete);
}

TEST_CASE("a damaged block under the command line is a finding, not the end") {
    Checkpoint checkpoint;
    checkpoint.processes.push_back(make_process(1));
    criu::pagemap_head head;
    head.set_pages_id(1);
    criu::pagemap_entry run;
    run.set_vaddr(0x10000);
    run.set_compat_nr_pages(0);
    run.set_nr_pages(k_pages);
    run.set_flags(4);
    MemorySource source;
    // One block of 32 pages in 100 bytes that are no LZ4.
    std::string image = make_image("PAGEMAP", head);
    cprewind::base::append_text(image, run.SerializeAsString() + "\x30\x64\x40\x20");
    source.files["pagemap-1.img"] = image;
    source.files["pages-1.img"] = std::string(100, '\xff');
    Findings findings;
    MemoryWindow memories(checkpoint, source, ExpectedStrings::arguments, findings);
    bool complete = true;
    CHECK(memories.arguments_of(checkpoint.processes[0], complete).empty());
    CHECK_FALSE(complete);
    REQUIRE(findings.size() == 1);
    CHECK(findings[0].kind == FindingKind::damaged);
    CHECK(findings[0].file == "pages-1.img");
}

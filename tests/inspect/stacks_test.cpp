#include "inspect/stacks.h"

#include <elf.h>
#include <gelf.h>

#include <catch2/catch_test_macros.hpp>

#include "base/bytes.h"
#include "images/directory_source.h"
#include "images/image_reader.h"
#include "images/pages.h"
#include "tests/inspect/post_mortem_builder.h"

using namespace cprewind::inspect;
using cprewind::inspect::test::MadeProcess;
namespace images = cprewind::images;
namespace criu = cprewind::criu;

namespace {

ContainerFiles no_files(Moment moment) {
    images::Findings ignored;
    return {moment, nullptr, nullptr, {}, ignored};
}

std::vector<ThreadStack> unwind(Moment moment, const images::Process& process) {
    images::Findings findings;
    ContainerFiles files = no_files(moment);
    return unwind_process(moment, process, files, findings);
}

// Where the vdso has its function of that name, from its own symbol table.
uint64_t find_in_vdso(Moment moment, const images::Process& process, std::string_view name) {
    images::Findings findings;
    images::AddressSpace memory(moment.source, process, findings);
    for (const images::Mapping& mapping : process.mappings) {
        if (mapping.kind != images::MappingKind::vdso) continue;
        std::string bytes(mapping.size(), '\0');
        memory.read(mapping.start, std::as_writable_bytes(std::span(bytes)));
        elf_version(EV_CURRENT);
        Elf* elf = elf_memory(bytes.data(), bytes.size());
        uint64_t found = 0;
        for (Elf_Scn* section = elf_nextscn(elf, nullptr); section != nullptr;
             section = elf_nextscn(elf, section)) {
            GElf_Shdr header;
            gelf_getshdr(section, &header);
            if (header.sh_type != SHT_DYNSYM) continue;
            Elf_Data* data = elf_getdata(section, nullptr);
            for (int i = 0; static_cast<uint64_t>(i) < header.sh_size / header.sh_entsize; ++i) {
                GElf_Sym symbol;
                gelf_getsym(data, i, &symbol);
                if (elf_strptr(elf, header.sh_link, symbol.st_name) == name)
                    found = mapping.start + symbol.st_value;
            }
        }
        elf_end(elf);
        return found;
    }
    return 0;
}

}  // namespace

TEST_CASE("where no file is at hand, frame pointers are followed and the reason is told") {
    MadeProcess made(criu::core_entry::AARCH64);
    criu::user_aarch64_regs_entry& regs = *made.core.mutable_ti_aarch64()->mutable_gpregs();
    for (uint64_t i = 0; i < 31; ++i) regs.add_regs(i == 29 ? 0x20100 : i == 30 ? 0x10200 : 0);
    regs.set_sp(0x20080);
    regs.set_pc(0x10100);
    made.map(0x10000, 1, PROT_READ | PROT_EXEC, MadeProcess::file_private);
    made.map(0x20000, 1, PROT_READ | PROT_WRITE);
    std::string stack(0x100, '\0');
    for (uint64_t word : {uint64_t{0x20200}, uint64_t{0x10300}}) cprewind::base::append_integer(stack, word);
    stack.resize(0x200, '\0');
    for (uint64_t word : {uint64_t{0}, uint64_t{0x10400}}) cprewind::base::append_integer(stack, word);
    made.page(0x20000, stack);
    made.load();
    auto stacks = unwind(made.moment(), made.process());
    REQUIRE(stacks.size() == 1);
    const ThreadStack& found = stacks[0];
    REQUIRE(found.frames.size() >= 3);
    CHECK(found.frames[0].address == 0x10100);
    CHECK(found.frames[0].found_by == FoundBy::registers);
    CHECK(found.frames[0].object == "/bin/made");
    CHECK(found.frames[0].function.empty());
    CHECK(found.frames[1].found_by == FoundBy::frame_pointer);
    CHECK(found.frames[2].address == 0x10300);
    CHECK(found.end.find("/bin/made is not at hand") != std::string::npos);
}

TEST_CASE("the vdso is named and unwound from memory") {
    images::DirectorySource directory(CPREWIND_FIXTURES "/kitchen");
    images::test::MemorySource source = images::test::copy_of(directory);
    images::Checkpoint checkpoint = images::load_checkpoint(source);
    uint64_t place = find_in_vdso({checkpoint, source}, checkpoint.processes[0], "__vdso_getcpu");
    REQUIRE(place != 0);
    images::Findings findings;
    criu::core_entry core;
    REQUIRE(images::read_single(source, "core-1.img", images::image_kind("CORE"), core, findings));
    core.mutable_thread_info()->mutable_gpregs()->set_ip(place);
    core.mutable_thread_info()->mutable_gpregs()->set_orig_ax(UINT64_MAX);
    source.files["core-1.img"] = images::test::make_image("CORE", core);
    auto stacks = unwind({checkpoint, source}, checkpoint.processes[0]);
    REQUIRE(!stacks.at(0).frames.empty());
    CHECK(stacks[0].frames[0].function == "__vdso_getcpu");
    CHECK(stacks[0].frames[0].object == "[vdso]");
    REQUIRE(stacks[0].frames.size() > 1);
    CHECK(stacks[0].frames[1].found_by == FoundBy::frame_information);
}

TEST_CASE(
    "threads with equal stacks are one group, and those of other architectures say why they have none") {
    images::DirectorySource source(CPREWIND_FIXTURES "/kitchen");
    images::Checkpoint checkpoint = images::load_checkpoint(source);
    std::vector<ThreadStack> stacks = unwind({checkpoint, source}, checkpoint.processes[0]);
    REQUIRE(stacks.size() == 3);
    for (const ThreadStack& stack : stacks) CHECK(!stack.end.empty());
    std::vector<ThreadStack> twice = stacks;
    twice.insert(twice.end(), stacks.begin(), stacks.end());
    std::vector<StackGroup> groups = group_stacks(twice);
    size_t threads = 0;
    for (const StackGroup& group : groups) {
        CHECK(group.threads.size() % 2 == 0);
        threads += group.threads.size();
    }
    CHECK(threads == 6);

    MadeProcess other(criu::core_entry::S390);
    other.load();
    auto none = unwind(other.moment(), other.process());
    REQUIRE(none.size() == 1);
    CHECK(none[0].frames.empty());
    CHECK(!none[0].end.empty());
}

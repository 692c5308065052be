// Cores as libelf reads them, which is not ours.
#include <elf.h>
#include <gelf.h>

#include <catch2/catch_test_macros.hpp>
#include <cstring>
#include <map>
#include <mutex>
#include <utility>

#include "base/error.h"
#include "images/directory_source.h"
#include "images/image_reader.h"
#include "images/proto/memory.pb.h"
#include "inspect/core_file.h"
#include "tests/inspect/post_mortem_builder.h"

using namespace cprewind::inspect;
using cprewind::inspect::test::MadeProcess;
namespace images = cprewind::images;
namespace criu = cprewind::criu;

namespace {

struct Note {
    uint32_t type = 0;
    std::string content;
};

// A core written into memory, and looked at through libelf.
class ReadCore {
 public:
    explicit ReadCore(const CoreFile& core, size_t workers = 1) : bytes_(core.size(), '\0') {
        uint64_t last = 0;
        bool in_order = true, inside = true;
        std::mutex lock;
        core.write(
            [&](uint64_t offset, std::span<const std::byte> bytes) {
                std::lock_guard guard(lock);
                in_order = in_order && offset >= last;
                last = offset + bytes.size();
                inside = inside && last <= bytes_.size();
                if (!inside) return;
                std::memcpy(bytes_.data() + offset, bytes.data(), bytes.size());
                given_ += bytes.size();
            },
            [](uint64_t) {}, workers);
        REQUIRE(inside);
        REQUIRE((in_order || workers > 1));
        elf_version(EV_CURRENT);
        elf_ = elf_memory(bytes_.data(), bytes_.size());
        REQUIRE(elf_ != nullptr);
        REQUIRE(elf_getphdrnum(elf_, &headers_) == 0);
    }
    ~ReadCore() { elf_end(elf_); }
    ReadCore(const ReadCore&) = delete;
    ReadCore& operator=(const ReadCore&) = delete;

    size_t given() const { return given_; }
    const std::string& bytes() const { return bytes_; }
    size_t headers() const { return headers_; }
    GElf_Ehdr header() const {
        GElf_Ehdr header;
        REQUIRE(gelf_getehdr(elf_, &header) != nullptr);
        return header;
    }
    std::vector<Note> notes() const {
        std::vector<Note> out;
        GElf_Phdr segment;
        REQUIRE(gelf_getphdr(elf_, 0, &segment) != nullptr);
        REQUIRE(segment.p_type == PT_NOTE);
        Elf_Data* data =
            elf_getdata_rawchunk(elf_, static_cast<int64_t>(segment.p_offset), segment.p_filesz, ELF_T_NHDR);
        REQUIRE(data != nullptr);
        GElf_Nhdr note;
        size_t name = 0, content = 0, end = 0;
        for (size_t at = 0; (at = gelf_getnote(data, at, &note, &name, &content)) != 0; end = at)
            out.push_back(
                {note.n_type, std::string(static_cast<char*>(data->d_buf) + content, note.n_descsz)});
        CHECK(end == segment.p_filesz);
        return out;
    }
    std::string note(uint32_t type) const {
        for (const Note& note : notes()) {
            if (note.type == type) return note.content;
        }
        return {};
    }
    // Memory as a debugger finds it: nothing when no segment has its content.
    std::optional<std::string> memory(uint64_t address, size_t size) const {
        for (size_t i = 1; i < headers_; ++i) {
            GElf_Phdr segment;
            REQUIRE(gelf_getphdr(elf_, static_cast<int>(i), &segment) != nullptr);
            if (address < segment.p_vaddr || address + size > segment.p_vaddr + segment.p_filesz) continue;
            return bytes_.substr(segment.p_offset + (address - segment.p_vaddr), size);
        }
        return std::nullopt;
    }

 private:
    std::string bytes_;
    Elf* elf_ = nullptr;
    size_t headers_ = 0;
    size_t given_ = 0;
};

struct Kitchen {
    images::DirectorySource source{CPREWIND_FIXTURES "/kitchen"};
    images::Checkpoint checkpoint = images::load_checkpoint(source);
    images::Findings findings;
    Moment moment() const { return {checkpoint, source}; }
    const images::Process& process() const { return checkpoint.processes.at(0); }
};

ContainerFiles no_files(Moment moment) {
    images::Findings ignored;
    return {moment, nullptr, nullptr, {}, ignored};
}

template <typename T>
T at(const std::string& bytes, size_t offset) {
    T value;
    REQUIRE(offset + sizeof(value) <= bytes.size());
    std::memcpy(&value, bytes.data() + offset, sizeof(value));
    return value;
}

criu::core_entry::march aarch64() {
    return criu::core_entry::AARCH64;
}

}  // namespace

TEST_CASE("the core of the kitchen has its notes in the kernel's order, its threads and its memory") {
    Kitchen kitchen;
    ContainerFiles files = no_files(kitchen.moment());
    CoreFile core(kitchen.moment(), kitchen.process(), files, kitchen.findings);
    ReadCore read(core);
    CHECK(kitchen.findings.empty());
    CHECK(read.header().e_type == ET_CORE);
    CHECK(read.header().e_machine == EM_X86_64);

    std::vector<uint32_t> types;
    std::vector<uint32_t> tids;
    for (const Note& note : read.notes()) {
        types.push_back(note.type);
        if (note.type == NT_PRSTATUS) tids.push_back(at<uint32_t>(note.content, 32));
    }
    std::vector<uint32_t> expected = {NT_PRSTATUS, NT_PRPSINFO, NT_SIGINFO,   NT_AUXV,
                                      NT_FILE,     NT_FPREGSET, NT_X86_XSTATE};
    for (int i = 0; i < 2; ++i)
        expected.insert(expected.end(), {NT_PRSTATUS, NT_SIGINFO, NT_FPREGSET, NT_X86_XSTATE});
    CHECK(types == expected);
    REQUIRE(tids.size() == 3);
    for (size_t i = 0; i < 3; ++i) CHECK(tids[i] == kitchen.process().threads[i].tid.value);

    CHECK(read.note(NT_PRSTATUS).size() == 336);
    std::string info = read.note(NT_PRPSINFO);
    REQUIRE(info.size() == 136);
    CHECK(info.substr(40, 8) == std::string("kitchen\0", 8));
    CHECK(info.substr(56, 34) == std::string("/bin/kitchen one  three words here", 34));
    CHECK(read.note(NT_AUXV).size() % 16 == 0);
    CHECK(at<uint64_t>(read.note(NT_AUXV), 0) == AT_SYSINFO_EHDR);

    CHECK(read.memory(0x200000003000, 21) == "page 3 of the pattern");
    CHECK(read.memory(0x200001000000, 17) == "first shared page");
    CHECK(read.memory(0x200002000000, 12) == "in the memfd");
    CHECK(read.memory(0x200004000000, 1 << 20) == std::string(1 << 20, '\0'));
    CHECK_FALSE(read.memory(0x402000, 16));  // its file is not at hand
    CHECK(read.given() < 1 << 20);           // a megabyte that was never touched is not written
    bool told = false;
    for (const CoreGap& gap : core.gaps()) told |= gap.start == 0x401000 && gap.path == "/bin/kitchen";
    CHECK(told);
    CHECK(core.lost_bytes() == 0);
}

TEST_CASE("a core is the same from several workers as from one") {
    Kitchen kitchen;
    ContainerFiles files = no_files(kitchen.moment());
    CoreFile core(kitchen.moment(), kitchen.process(), files, kitchen.findings);
    ReadCore one(core), three(core, 3);
    CHECK(one.given() == three.given());
    CHECK(one.bytes() == three.bytes());
}

TEST_CASE("criu-coredump shuffles the auxiliary vector: here it is as the kernel gave it") {
    Kitchen kitchen;
    ContainerFiles files = no_files(kitchen.moment());
    CoreFile core(kitchen.moment(), kitchen.process(), files, kitchen.findings);
    std::string note = ReadCore(core).note(NT_AUXV);
    const std::vector<uint64_t>& words = kitchen.process().auxv;
    REQUIRE(note.size() % 16 == 0);
    REQUIRE(words.size() > 20);
    REQUIRE(note.size() / 8 >= words.size());
    for (size_t i = 0; i < words.size(); ++i) CHECK(at<uint64_t>(note, i * 8) == words[i]);
    CHECK(at<uint64_t>(note, note.size() - 16) == AT_NULL);
}

TEST_CASE(
    "criu-coredump stops at shared anonymous memory: here it is in the list of mapped files, as in the "
    "kernel's") {
    Kitchen kitchen;
    ContainerFiles files = no_files(kitchen.moment());
    CoreFile core(kitchen.moment(), kitchen.process(), files, kitchen.findings);
    std::string note = ReadCore(core).note(NT_FILE);
    CHECK(note.find(std::string("/bin/kitchen\0", 13)) != std::string::npos);
    CHECK(note.find("/dev/zero (deleted)") != std::string::npos);
}

TEST_CASE("criu-coredump looks for pages in the parent process: here they come from the parent checkpoint") {
    Kitchen kitchen;
    images::test::MemorySource source = images::test::copy_of(kitchen.source);
    std::string name = images::image_file_name(images::image_kind("PAGEMAP"), kitchen.process().pid.value);
    source.files["parent/" + name] = source.files[name];
    criu::pagemap_head head;
    criu::pagemap_entry entry;
    images::Findings findings;
    auto reader = images::ImageReader::open(kitchen.source, name, images::image_kind("PAGEMAP"), findings);
    REQUIRE((reader && reader->next(head)));
    std::string pages = images::image_file_name(images::image_kind("PAGES"), head.pages_id());
    source.files["parent/" + pages] = std::exchange(source.files[pages], "");
    source.files[name] = images::test::make_image("PAGEMAP", head);
    while (reader->next(entry)) {
        entry.set_flags(1);  // PE_PARENT
        images::test::append_entry(source.files[name], entry);
    }
    images::Checkpoint checkpoint = images::load_checkpoint(source);
    Moment moment{checkpoint, source};
    ContainerFiles files = no_files(moment);
    CoreFile core(moment, checkpoint.processes.at(0), files, findings);
    CHECK(findings.empty());
    CHECK(ReadCore(core).memory(0x200000003000, 21) == "page 3 of the pattern");
}

TEST_CASE("pages of mapped files come from the file that was mapped, and from no other") {
    Kitchen kitchen;
    images::Findings findings;
    uint64_t size = 0;
    auto directory = [&](const std::string& path) -> std::unique_ptr<images::ImageFile> {
        if (path != "/bin/kitchen") return nullptr;
        return std::make_unique<images::test::MemoryFile>(std::string(size, 'k'));
    };
    for (const auto& [id, file] : kitchen.checkpoint.files) {
        if (file.path == "/bin/kitchen" && file.size) size = *file.size;
    }
    REQUIRE(size > 0);
    ContainerFiles files(kitchen.moment(), nullptr, nullptr, {directory}, findings);
    CHECK(ReadCore(CoreFile(kitchen.moment(), kitchen.process(), files, findings)).memory(0x402000, 4) ==
          "kkkk");
    size += 1;
    CoreFile core(kitchen.moment(), kitchen.process(), files, findings);
    CHECK_FALSE(ReadCore(core).memory(0x402000, 4));
    CHECK(core.gaps().front().why.find("bytes") != std::string::npos);
}

TEST_CASE("a thread that waits in a call stands behind it, as a debugger sees it") {
    for (bool at_call : {true, false}) {
        MadeProcess made(criu::core_entry::X86_64);
        criu::user_x86_regs_entry& regs = *made.core.mutable_thread_info()->mutable_gpregs();
        regs.set_ax(34);
        regs.set_orig_ax(34);
        regs.set_ip(0x10010);
        regs.set_cs(0x33);
        made.map(0x10000, 1, PROT_READ | PROT_EXEC);
        made.page(0x10000, std::string(0x10, '\0') + (at_call ? "\x0f\x05" : "\x90\x90"));
        made.load();
        ContainerFiles files = no_files(made.moment());
        images::Findings findings;
        ReadCore read(CoreFile(made.moment(), made.process(), files, findings));
        std::string status = read.note(NT_PRSTATUS);
        CHECK(at<uint64_t>(status, 112 + 16 * 8) == (at_call ? 0x10012 : 0x10010));
        CHECK(at<int64_t>(status, 112 + 10 * 8) == (at_call ? -514 : 34));
    }
}

TEST_CASE("vector registers lie where XSAVE has them") {
    MadeProcess made(criu::core_entry::X86_64);
    criu::thread_info_x86& info = *made.core.mutable_thread_info();
    info.mutable_gpregs()->set_ip(1);
    criu::user_x86_fpregs_entry& fp = *info.mutable_fpregs();
    fp.set_cwd(0x37f);
    fp.set_mxcsr(0x1f80);
    for (uint32_t i = 0; i < 64; ++i) fp.add_xmm_space(0x1000 + i);
    criu::user_x86_xsave_entry& xsave = *fp.mutable_xsave();
    xsave.set_xstate_bv(0xe7);
    for (uint32_t i = 0; i < 64; ++i) xsave.add_ymmh_space(0x2000 + i);
    for (uint64_t i = 0; i < 8; ++i) xsave.add_opmask_reg(0x3000 + i);
    for (uint64_t i = 0; i < 64; ++i) xsave.add_zmm_upper(0x4000 + i);
    for (uint64_t i = 0; i < 128; ++i) xsave.add_hi16_zmm(0x5000 + i);
    made.load();
    ContainerFiles files = no_files(made.moment());
    images::Findings findings;
    ReadCore read(CoreFile(made.moment(), made.process(), files, findings));
    std::string area = read.note(NT_X86_XSTATE);
    CHECK(area.size() == 2688);
    CHECK(at<uint16_t>(area, 0) == 0x37f);
    CHECK(at<uint32_t>(area, 24) == 0x1f80);
    CHECK(at<uint32_t>(area, 160) == 0x1000);
    CHECK(at<uint64_t>(area, 464) == 0xe7);
    CHECK(at<uint64_t>(area, 512) == 0xe7);
    CHECK(at<uint32_t>(area, 576 + 63 * 4) == 0x203f);
    CHECK(at<uint64_t>(area, 1088 + 7 * 8) == 0x3007);
    CHECK(at<uint64_t>(area, 1152 + 63 * 8) == 0x403f);
    CHECK(at<uint64_t>(area, 1664 + 127 * 8) == 0x507f);
    // More than fits, as a hostile image may have, goes nowhere.
    for (uint64_t i = 0; i < 1000; ++i) xsave.add_opmask_reg(0xbad);
    for (uint64_t i = 0; i < 1000; ++i) fp.add_padding(0xbad);
    made.load();
    ReadCore again(CoreFile(made.moment(), made.process(), files, findings));
    CHECK(again.note(NT_X86_XSTATE).size() == 2688);
    CHECK(at<uint64_t>(again.note(NT_X86_XSTATE), 1152) == 0x4000);
}

TEST_CASE("a core of aarch64 has its registers, vectors and thread pointer") {
    MadeProcess made(aarch64());
    criu::thread_info_aarch64& info = *made.core.mutable_ti_aarch64();
    info.set_tls(0x7000);
    for (uint64_t i = 0; i < 31; ++i) info.mutable_gpregs()->add_regs(0x100 + i);
    info.mutable_gpregs()->set_sp(0x20000);
    info.mutable_gpregs()->set_pc(0x10000);
    info.mutable_gpregs()->set_pstate(0x60000000);
    for (uint64_t i = 0; i < 64; ++i) info.mutable_fpsimd()->add_vregs(0x9000 + i);
    info.mutable_fpsimd()->set_fpsr(5);
    info.mutable_pac_keys()->mutable_pac_address_keys()->set_pac_enabled_key(1);
    made.map(0x10000, 2, PROT_READ);
    made.map(0x7ffffff00000, 1, PROT_READ);
    made.load();
    ContainerFiles files = no_files(made.moment());
    images::Findings findings;
    ReadCore read(CoreFile(made.moment(), made.process(), files, findings));
    CHECK(read.header().e_machine == EM_AARCH64);
    std::string status = read.note(NT_PRSTATUS);
    CHECK(status.size() == 392);
    CHECK(at<uint64_t>(status, 112 + 30 * 8) == 0x100 + 30);
    CHECK(at<uint64_t>(status, 112 + 32 * 8) == 0x10000);
    CHECK(read.note(NT_FPREGSET).size() == 528);
    CHECK(at<uint64_t>(read.note(NT_FPREGSET), 63 * 8) == 0x903f);
    CHECK(at<uint32_t>(read.note(NT_FPREGSET), 512) == 5);
    CHECK(at<uint64_t>(read.note(NT_ARM_TLS), 0) == 0x7000);
    CHECK(at<uint64_t>(read.note(0x406), 0) == 0x007f000000000000);
    CHECK(read.note(NT_X86_XSTATE).empty());
}

TEST_CASE("more segments than a program header can count are counted elsewhere") {
    constexpr uint64_t k_pages = 66'000;
    MadeProcess made(criu::core_entry::X86_64);
    made.core.mutable_thread_info()->mutable_gpregs()->set_ip(1);
    made.map(0x100000000, k_pages, PROT_READ, MadeProcess::file_private);
    for (uint64_t i = 0; i < k_pages; i += 2) made.page(0x100000000 + i * MadeProcess::k_page, "p");
    made.load();
    ContainerFiles files = no_files(made.moment());
    images::Findings findings;
    CoreFile core(made.moment(), made.process(), files, findings);
    CHECK(core.segments().size() == k_pages);
    ReadCore read(core);
    CHECK(read.headers() == k_pages + 1);
    CHECK(read.header().e_phnum == PN_XNUM);
    CHECK(read.memory(0x100000000 + (k_pages - 2) * MadeProcess::k_page, 1) == "p");
}

TEST_CASE("address space that nobody wrote to and nobody may read takes no place, and no sum overflows") {
    MadeProcess made(criu::core_entry::X86_64);
    made.core.mutable_thread_info()->mutable_gpregs()->set_ip(1);
    made.map(0x100000000, uint64_t{1} << 32, PROT_NONE);
    made.map(0x200000000000, 1, PROT_READ);
    made.page(0x100000000, "but this was");
    made.load();
    ContainerFiles files = no_files(made.moment());
    images::Findings findings;
    CoreFile core(made.moment(), made.process(), files, findings);
    CHECK(core.memory_bytes() == 2 * MadeProcess::k_page);
    CHECK(ReadCore(core).memory(0x100000000, 12) == "but this was");

    made.map(0x300000000000, uint64_t{1} << 51, PROT_READ);
    made.load();
    CHECK_THROWS_AS(CoreFile(made.moment(), made.process(), files, findings), cprewind::base::Error);
}

TEST_CASE("mappings that begin and end within pages are copied all the same") {
    MadeProcess made(criu::core_entry::X86_64);
    made.core.mutable_thread_info()->mutable_gpregs()->set_ip(1);
    made.map(0x10800, 1, PROT_READ);  // to 0x11800
    made.page(0x10000, std::string(0x800, 'a') + "begin");
    made.page(0x11000, std::string(0x7fc, 'b') + "ends");
    made.load();
    ContainerFiles files = no_files(made.moment());
    images::Findings findings;
    ReadCore read(CoreFile(made.moment(), made.process(), files, findings));
    CHECK(read.memory(0x10800, 5) == "begin");
    CHECK(read.memory(0x117fc, 4) == "ends");
}

TEST_CASE("no core is made of a zombie, of 32-bit code and of other architectures") {
    using cprewind::base::Error;
    images::Findings findings;
    for (int which : {0, 1, 2}) {
        MadeProcess made(which == 2 ? criu::core_entry::S390 : criu::core_entry::X86_64);
        made.core.mutable_thread_info()->mutable_gpregs()->set_cs(which == 1 ? 0x23 : 0x33);
        if (which == 0) made.core.mutable_tc()->set_task_state(6);
        made.load();
        ContainerFiles files = no_files(made.moment());
        CHECK_THROWS_AS(CoreFile(made.moment(), made.process(), files, findings), Error);
    }
}

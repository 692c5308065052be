#include "images/pages.h"

#include <lz4.h>

#include <sys/mman.h>

#include <catch2/catch_test_macros.hpp>

#include "base/error.h"
#include "base/fd.h"
#include "images/proto/memory.pb.h"
#include "tests/images/image_builder.h"

using namespace cprewind::images;
using namespace cprewind::images::test;
namespace criu = cprewind::criu;
namespace base = cprewind::base;

namespace {

constexpr uint64_t k_page = 4096;
constexpr uint32_t k_parent = 1, k_lazy = 2, k_present = 4;

criu::pagemap_head make_map_head(uint32_t pages_id) {
    criu::pagemap_head head;
    head.set_pages_id(pages_id);
    return head;
}

criu::pagemap_entry make_run(uint64_t address, uint32_t pages, uint32_t flags) {
    criu::pagemap_entry entry;
    entry.set_vaddr(address);
    entry.set_compat_nr_pages(pages);
    entry.set_flags(flags);
    return entry;
}

// As CRIU 4.2 writes it.
criu::pagemap_entry make_new_run(uint64_t address, uint64_t pages, uint32_t flags) {
    criu::pagemap_entry entry = make_run(address, 0, flags);
    entry.set_nr_pages(pages);
    return entry;
}

// Pages of which each is filled with one letter.
std::string make_pages(std::string_view letters, size_t page = k_page) {
    std::string out;
    for (char letter : letters) out.append(page, letter);
    return out;
}

// One letter for each page: its content's, or '.' zero, 'F' from file, 'K' kernel, 'P' parent, 'L' lazy, 'M'
// missing, 'U' unmapped.
std::string picture(const AddressSpace& memory, uint64_t address, size_t pages) {
    std::vector<std::byte> bytes(pages * k_page);
    std::string out;
    for (const PageSpan& span : memory.read(address, bytes)) {
        for (uint64_t at = 0; at < span.bytes; at += k_page) {
            size_t offset = static_cast<size_t>(span.address - address + at);
            switch (span.state) {
                case PageState::present:
                    out += static_cast<char>(bytes[offset + 17]);
                    break;
                case PageState::zero:
                    out += '.';
                    break;
                case PageState::from_file:
                    out += 'F';
                    break;
                case PageState::kernel:
                    out += 'K';
                    break;
                case PageState::parent:
                    out += 'P';
                    break;
                case PageState::lazy:
                    out += 'L';
                    break;
                case PageState::missing:
                    out += 'M';
                    break;
                case PageState::unmapped:
                    out += 'U';
                    break;
            }
        }
    }
    return out;
}

Mapping make_mapping(uint64_t start, uint64_t pages, MappingKind kind) {
    Mapping mapping;
    mapping.start = start;
    mapping.end = start + pages * k_page;
    mapping.kind = kind;
    mapping.flags = kind == MappingKind::anonymous_shared ? MAP_SHARED : MAP_PRIVATE;
    return mapping;
}

struct Fixture {
    MemorySource source;
    Process process;
    Findings findings;

    Fixture() {
        process.pid = {1};
        process.mappings.push_back(make_mapping(0x10000, 8, MappingKind::anonymous));
    }
    template <typename... Runs>
    void pagemap(const Runs&... runs) {
        source.files["pagemap-1.img"] = make_image("PAGEMAP", make_map_head(1), runs...);
    }
    std::string picture(uint64_t address = 0x10000, size_t pages = 8) {
        AddressSpace memory(source, process, findings);
        return ::picture(memory, address, pages);
    }
};

}  // namespace

TEST_CASE("only runs marked present take bytes of the pages file") {
    Fixture f;
    f.pagemap(make_run(0x10000, 1, k_present), make_run(0x11000, 2, k_parent),
              make_run(0x13000, 1, k_present), make_run(0x14000, 1, k_lazy),
              make_run(0x15000, 1, k_present | k_lazy));
    f.source.files["pages-1.img"] = make_pages("abc");
    CHECK(f.picture() == "aPPbLc..");
    REQUIRE(f.findings.size() == 1);
    CHECK(f.findings[0].message.find("8192 bytes of memory are in the parent") != std::string::npos);
}

TEST_CASE("the page count is in field 2 up to CRIU 4.1 and in field 5 since") {
    Fixture f;
    f.pagemap(make_run(0x10000, 2, k_present), make_new_run(0x13000, 3, k_present));
    f.source.files["pages-1.img"] = make_pages("abcde");
    CHECK(f.picture() == "ab.cde..");
    CHECK(f.findings.empty());
}

TEST_CASE("before flags existed in_parent told, and all else was present") {
    Fixture f;
    criu::pagemap_entry old_parent, old_present;
    old_parent.set_vaddr(0x10000);
    old_parent.set_compat_nr_pages(1);
    old_parent.set_in_parent(true);
    old_present.set_vaddr(0x11000);
    old_present.set_compat_nr_pages(1);
    f.pagemap(old_parent, old_present);
    f.source.files["pages-1.img"] = make_pages("a");
    CHECK(f.picture() == "Pa......");
}

TEST_CASE("parents are followed, through more than one and cut up differently") {
    Fixture f;
    f.pagemap(make_run(0x10000, 6, k_parent), make_run(0x16000, 1, k_present));
    f.source.files["pages-1.img"] = make_pages("z");
    f.source.files["parent/pagemap-1.img"] =
        make_image("PAGEMAP", make_map_head(9), make_run(0x0f000, 2, k_present),
                   make_run(0x11000, 2, k_parent), make_run(0x14000, 1, k_present));
    f.source.files["parent/pages-9.img"] = make_pages("xab");
    f.source.files["parent/parent/pagemap-1.img"] =
        make_image("PAGEMAP", make_map_head(1), make_run(0x10000, 8, k_present));
    f.source.files["parent/parent/pages-1.img"] = make_pages("01234567");
    CHECK(f.picture() == "a12MbMz.");
    CHECK(f.findings.size() == 1);
    CHECK(f.findings[0].file == "parent/pagemap-1.img");
}

TEST_CASE("a pages file that is too short, too long or absent is a finding") {
    Fixture f;
    f.pagemap(make_run(0x10000, 3, k_present));
    f.source.files["pages-1.img"] = make_pages("abc").substr(0, 2 * k_page + 100);
    CHECK(f.picture() == "abM.....");
    CHECK(f.findings.at(0).kind == FindingKind::truncated);

    f.findings.clear();
    f.source.files["pages-1.img"] = make_pages("abcd");
    CHECK(f.picture() == "abc.....");
    CHECK(f.findings.at(0).kind == FindingKind::damaged);

    f.findings.clear();
    f.source.files.erase("pages-1.img");
    CHECK(f.picture() == "MMM.....");
    CHECK(f.findings.at(0).kind == FindingKind::absent);
}

TEST_CASE("an absent pagemap is a finding and memory without pages") {
    Fixture f;
    CHECK(f.picture() == "........");
    CHECK(f.findings.at(0).kind == FindingKind::absent);
}

TEST_CASE("the page size is found from the size of the pages file") {
    for (size_t page : {4096u, 16384u, 65536u}) {
        MemorySource source;
        source.files["pagemap-1.img"] =
            make_image("PAGEMAP", make_map_head(1), make_run(0x100000, 2, k_present));
        source.files["pages-1.img"] = make_pages("ab", page);
        Findings findings;
        PageMap map = PageMap::open_process(source, {1}, findings);
        CHECK(map.page_size() == page);
        CHECK(map.runs().at(0).bytes == 2 * page);
        CHECK(findings.empty());
    }
}

TEST_CASE("a page size that fits a cut pagemap by chance is not believed") {
    Fixture f;
    // Of two runs of 16 pages in all one is left: as many bytes as one page of 64 KiB.
    f.pagemap(make_run(0x11000, 1, k_present));
    f.source.files["pages-1.img"] = make_pages("abcdefghijklmnop");
    CHECK(f.picture() == ".a......");
    REQUIRE(f.findings.size() == 1);
    CHECK(f.findings[0].file == "pages-1.img");
    f.findings.clear();
    f.process.mappings = {make_mapping(0x11000, 7, MappingKind::anonymous)};
    f.pagemap(make_run(0x10000, 1, k_present));
    f.picture();
    REQUIRE(f.findings.size() == 1);
    CHECK(f.findings[0].message.find("pages of 65536 bytes") != std::string::npos);
}

TEST_CASE(
    "runs that overlap, go backwards or leave the address space are dropped, and do not shift the others") {
    Fixture f;
    f.pagemap(make_run(0x12000, 1, k_present), make_run(0x10000, 1, k_present),
              make_run(0x13000, 1, k_present));
    f.source.files["pages-1.img"] = make_pages("abc");
    CHECK(f.picture() == "..ac....");
    CHECK(f.findings.size() == 1);
    CHECK(f.findings[0].kind == FindingKind::damaged);
}

TEST_CASE("absurd page counts neither crash nor take memory") {
    for (uint64_t count :
         {uint64_t{0}, UINT64_MAX, UINT64_MAX / 4096, uint64_t{1} << 51, uint64_t{1} << 40}) {
        Fixture f;
        f.pagemap(make_new_run(0x10000, 1, k_present), make_new_run(0x11000, count, k_present),
                  make_new_run(UINT64_MAX - 4095, count, k_present));
        f.source.files["pages-1.img"] = make_pages("ab");
        INFO(count);
        std::string seen = f.picture();
        CHECK(seen.substr(0, 1) == "a");
        CHECK_FALSE(f.findings.empty());
    }
}

namespace {

void append_varint(std::string& out, uint64_t value) {
    for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
    out += static_cast<char>(value);
}

std::string lz4(const std::string& content) {
    std::string out(static_cast<size_t>(LZ4_compressBound(static_cast<int>(content.size()))), '\0');
    out.resize(static_cast<size_t>(LZ4_compress_default(
        content.data(), out.data(), static_cast<int>(content.size()), static_cast<int>(out.size()))));
    return out;
}

// Of 5 pages in blocks of two: "aa" compressed, zeros, "e" as it is.
std::string pagemap_of_blocks(bool as_message, uint32_t first, uint32_t flags = k_present) {
    criu::pagemap_entry run = make_new_run(0x10000, 5, flags);
    std::string fields, inner;
    std::vector<uint64_t> sizes = {first, 0, k_page};
    if (as_message) {
        std::string packed;
        for (uint64_t size : sizes) append_varint(packed, size);
        inner = "\x0a";
        append_varint(inner, packed.size());
        inner += packed + "\x10";
        append_varint(inner, first + k_page);
        inner += std::string("\x18\x02", 2);
        fields = "\x32";
        append_varint(fields, inner.size());
        fields += inner;
    } else {
        for (uint64_t size : sizes) {
            fields += "\x30";
            append_varint(fields, size);
        }
        fields += "\x38";
        append_varint(fields, first + k_page);
        fields += std::string("\x40\x02", 2);
    }
    std::string image = make_image("PAGEMAP", make_map_head(1));
    base::append_text(image, run.SerializeAsString() + fields);
    return image;
}

}  // namespace

TEST_CASE("LZ4 blocks of both schemas are read: compressed, zero and as they are") {
    std::string block = lz4(make_pages("aa"));
    for (bool as_message : {false, true}) {
        Fixture f;
        f.source.files["pagemap-1.img"] = pagemap_of_blocks(as_message, static_cast<uint32_t>(block.size()));
        f.source.files["pages-1.img"] = block + make_pages("e");
        INFO(as_message);
        AddressSpace memory(f.source, f.process, f.findings);
        std::vector<std::byte> bytes(5 * k_page);
        memory.read(0x10000, bytes);
        CHECK(cprewind::base::as_text(bytes) ==
              make_pages("aa") + std::string(2 * k_page, '\0') + make_pages("e"));
        CHECK(f.findings.empty());
    }
}

TEST_CASE("a run that is stored aligned begins at a whole page") {
    std::string block = lz4(make_pages("aa"));
    Fixture f;
    std::string image = pagemap_of_blocks(true, static_cast<uint32_t>(block.size()));
    append_entry(image, make_new_run(0x15000, 1, k_present | 8));
    f.source.files["pagemap-1.img"] = image;
    std::string stored = block + make_pages("e");
    stored.resize((stored.size() + k_page - 1) / k_page * k_page, 'x');
    f.source.files["pages-1.img"] = stored + make_pages("q");
    CHECK(f.picture().substr(4, 2) == "eq");
    CHECK(f.findings.empty());
}

TEST_CASE("the page size of compressed pages is found from what their blocks hold") {
    for (size_t page : {4096u, 16384u, 65536u}) {
        for (bool raw : {false, true}) {
            INFO(page << (raw ? " as it is" : " compressed"));
            std::string first = make_pages("ab", page);
            std::string block = raw ? first : lz4(first);
            std::string last = make_pages("e", page);
            std::string fields;
            for (uint64_t size : {block.size(), size_t{0}, last.size()}) {
                fields += "\x30";
                append_varint(fields, size);
            }
            fields += std::string("\x40\x02", 2);
            MemorySource source;
            source.files["pagemap-1.img"] = make_image("PAGEMAP", make_map_head(1));
            base::append_text(source.files["pagemap-1.img"],
                              make_new_run(0x100000, 5, k_present).SerializeAsString() + fields);
            source.files["pages-1.img"] = block + last;
            Findings findings;
            PageMap map = PageMap::open_process(source, {1}, findings);
            REQUIRE(map.page_size() == page);
            REQUIRE(map.runs().size() == 1);
            CHECK(map.runs()[0].bytes == 5 * page);
            std::string content(5 * page, 'x');
            map.read_run(map.runs()[0], 0x100000, std::as_writable_bytes(std::span(content)));
            CHECK(content == first + std::string(2 * page, '\0') + last);
            CHECK(findings.empty());
        }
    }
}

TEST_CASE("parents may be compressed, or not, whatever the checkpoint itself is") {
    std::string block = lz4(make_pages("aa"));
    for (bool compressed_parent : {false, true}) {
        MemorySource source;
        std::string blocks = pagemap_of_blocks(true, static_cast<uint32_t>(block.size()));
        std::string own = compressed_parent ? make_image("PAGEMAP", make_map_head(1)) : blocks;
        append_entry(own, make_new_run(compressed_parent ? 0x10000 : 0x20000, 5, k_parent));
        source.files["pagemap-1.img"] = own;
        source.files["parent/pagemap-1.img"] =
            compressed_parent ? blocks
                              : make_image("PAGEMAP", make_map_head(1), make_new_run(0x20000, 5, k_present));
        source.files[compressed_parent ? "parent/pages-1.img" : "pages-1.img"] = block + make_pages("e");
        source.files[compressed_parent ? "pages-1.img" : "parent/pages-1.img"] =
            compressed_parent ? "" : make_pages("vwxyz");
        Process process;
        process.pid = {1};
        process.mappings.push_back(make_mapping(0x10000, 32, MappingKind::anonymous));
        Findings findings;
        AddressSpace memory(source, process, findings);
        std::string seen = picture(memory, compressed_parent ? 0x10000 : 0x20000, 5);
        CHECK(seen == (compressed_parent ? std::string("aa") + std::string(2, '\0') + "e" : "vwxyz"));
        CHECK(findings.empty());
    }
}

TEST_CASE("addresses whose sign a 32-bit CRIU extended are those of the program") {
    Fixture f;
    f.process.mappings = {make_mapping(0xf7000000, 4, MappingKind::anonymous)};
    f.pagemap(make_run(0x08048000, 1, k_present), make_run(0xfffffffff7001000, 2, k_present));
    f.source.files["pages-1.img"] = make_pages("abc");
    CHECK(f.picture(0xf7000000, 4) == ".bc.");
    CHECK(f.findings.empty());
}

TEST_CASE("a damaged, missing or absurd block is an error or a finding, not memory") {
    std::string block = lz4(make_pages("aa"));
    Fixture f;
    f.source.files["pagemap-1.img"] = pagemap_of_blocks(true, static_cast<uint32_t>(block.size()));
    f.source.files["pages-1.img"] = std::string(block.size(), '\xff') + make_pages("e");
    CHECK_THROWS_AS(f.picture(), cprewind::base::Error);
    f.source.files["pages-1.img"] = block;
    CHECK(f.picture().substr(4, 1) == "M");
    CHECK_FALSE(f.findings.empty());
    f.findings.clear();
    f.source.files["pagemap-1.img"] = pagemap_of_blocks(true, UINT32_MAX);
    CHECK(f.picture().substr(0, 5) == "MMMMM");
    CHECK_FALSE(f.findings.empty());
}

TEST_CASE("what no run covers is what its mapping makes of it") {
    Fixture f;
    f.process.mappings.push_back(make_mapping(0x20000, 2, MappingKind::file_private));
    f.process.mappings.push_back(make_mapping(0x22000, 1, MappingKind::vvar));
    f.process.mappings.push_back(make_mapping(0x24000, 1, MappingKind::stack));
    f.pagemap(make_run(0x21000, 1, k_present));
    f.source.files["pages-1.img"] = make_pages("q");
    CHECK(f.picture(0x20000, 6) == "FqKU.U");
}

TEST_CASE("shared memory is read from its object, at the mapping's offset") {
    Fixture f;
    Mapping shared = make_mapping(0x30000, 3, MappingKind::anonymous_shared);
    shared.shmid = 77;
    shared.offset = 2 * k_page;
    f.process.mappings.push_back(shared);
    f.pagemap();
    f.source.files["pagemap-shmem-77.img"] = make_image(
        "SHMEM_PAGEMAP", make_map_head(2), make_run(0, 3, k_present), make_run(0x4000, 4, k_present));
    f.source.files["pages-2.img"] = make_pages("abcdefg");
    CHECK(f.picture(0x2f000, 5) == "Uc.dU");
    CHECK(f.findings.empty());
}

TEST_CASE("a private mapping of a memfd shows the object where the process wrote nothing") {
    Fixture f;
    Mapping memfd = make_mapping(0x30000, 3, MappingKind::memfd);
    memfd.shmid = 77;
    memfd.file_id = 5;
    f.process.mappings.push_back(memfd);
    f.pagemap(make_run(0x31000, 1, k_present));
    f.source.files["pages-1.img"] = make_pages("W");
    f.source.files["pagemap-shmem-77.img"] =
        make_image("SHMEM_PAGEMAP", make_map_head(2), make_run(0, 2, k_present));
    f.source.files["pages-2.img"] = make_pages("ab");
    CHECK(f.picture(0x30000, 3) == "aW.");
}

TEST_CASE("reads may begin and end anywhere, also at the end of the address space") {
    Fixture f;
    f.pagemap(make_run(0x10000, 2, k_present));
    f.source.files["pages-1.img"] = make_pages("ab");
    AddressSpace memory(f.source, f.process, f.findings);
    std::vector<std::byte> bytes(10);
    auto spans = memory.read(0x10000 + k_page - 5, bytes);
    CHECK(spans.size() == 1);
    CHECK(cprewind::base::as_text(bytes) == "aaaaabbbbb");
    spans = memory.read(UINT64_MAX - 3, bytes);
    REQUIRE(spans.size() == 1);
    CHECK(spans[0].state == PageState::unmapped);
}

TEST_CASE("pages that no mapping covers are shown all the same") {
    Fixture f;
    f.pagemap(make_run(0x50000, 1, k_present));
    f.source.files["pages-1.img"] = make_pages("h");
    CHECK(f.picture(0x4f000, 3) == "UhU");
}

TEST_CASE("a range of strings ends where memory is not known, and says so") {
    Fixture f;
    f.pagemap(make_run(0x10000, 1, k_present), make_run(0x11000, 1, k_lazy));
    f.source.files["pages-1.img"] = make_pages("a");
    AddressSpace memory(f.source, f.process, f.findings);
    bool complete = false;
    CHECK(read_range(memory, {0x10ffe, 0x11000}, 100, complete) == "aa");
    CHECK(complete);
    CHECK(read_range(memory, {0x10ffe, 0x11002}, 100, complete) == "aa");
    CHECK_FALSE(complete);
    CHECK(read_range(memory, {0x10000, UINT64_MAX}, 10, complete).size() == 10);
    CHECK_FALSE(complete);
    CHECK(read_range(memory, {0x11000, 0x10000}, 10, complete).empty());
}

TEST_CASE("a stream gives the same bytes as reading run by run") {
    MemorySource source;
    std::string image = make_image("PAGEMAP", make_map_head(1));
    std::string letters;
    for (uint32_t i = 0; i < 600; ++i) {
        append_entry(image, make_run(0x10000 + i * 3 * k_page, 1 + i % 2, k_present));
        letters.append(1 + i % 2, static_cast<char>('a' + i % 26));
    }
    source.files["pagemap-1.img"] = image;
    source.files["pages-1.img"] = make_pages(letters);
    Findings findings;
    PageMap map = PageMap::open_process(source, {1}, findings);
    REQUIRE(map.runs().size() == 600);
    RunStream stream(map);
    for (const PageRun& run : map.runs()) {
        std::vector<std::byte> expected(static_cast<size_t>(run.bytes));
        map.read_run(run, run.address, expected);
        std::vector<std::byte> streamed;
        for (uint64_t address = run.address; address < run.end();) {
            auto piece = stream.at(run, address);
            REQUIRE(piece.size() % k_page == 0);
            streamed.insert(streamed.end(), piece.begin(), piece.end());
            address += piece.size();
        }
        REQUIRE(streamed == expected);
    }
}

TEST_CASE("the run that holds an address or comes next is found") {
    MemorySource source;
    source.files["pagemap-1.img"] = make_image("PAGEMAP", make_map_head(1), make_run(0x10000, 2, k_present),
                                               make_run(0x20000, 1, k_present));
    source.files["pages-1.img"] = make_pages("abc");
    Findings findings;
    PageMap map = PageMap::open_process(source, {1}, findings);
    CHECK(map.find(0) == 0);
    CHECK(map.find(0x11fff) == 0);
    CHECK(map.find(0x12000) == 1);
    CHECK(map.find(0x21000) == 2);
    CHECK(map.present_bytes() == 3 * k_page);
}

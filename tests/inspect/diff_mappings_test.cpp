#include "inspect/diff_mappings.h"

#include <sys/mman.h>

#include <catch2/catch_test_macros.hpp>

using namespace cprewind::inspect;
namespace images = cprewind::images;

namespace {

constexpr uint64_t k_page = 4096;

images::Mapping make(uint64_t first, uint64_t last, uint32_t protection = PROT_READ | PROT_WRITE,
                     const char* path = "") {
    images::Mapping mapping;
    mapping.start = first * k_page;
    mapping.end = last * k_page;
    mapping.protection = protection;
    mapping.flags = MAP_PRIVATE;
    mapping.path = path;
    mapping.kind = *path ? images::MappingKind::file_private : images::MappingKind::anonymous;
    return mapping;
}

// "grown 1-2>1-3, …" with page numbers.
std::string changes(const std::vector<images::Mapping>& a, const std::vector<images::Mapping>& b,
                    const SameContent& same_content = {}) {
    images::Process before, after;
    before.mappings = a;
    after.mappings = b;
    std::string out;
    auto pages = [](images::AddressRange range) {
        return range.end == 0
                   ? std::string()
                   : std::to_string(range.start / k_page) + "-" + std::to_string(range.end / k_page);
    };
    const char* const names[] = {"mapped", "unmapped", "grown", "shrunk", "protection", "replaced", "moved"};
    for (const MappingChange& change : diff_mappings(before, after, same_content).changes) {
        out += (out.empty() ? "" : ", ") + std::string(names[static_cast<int>(change.fate)]) + " " +
               pages(change.before) + ">" + pages(change.after);
    }
    return out;
}

}  // namespace

TEST_CASE("mprotect in the middle, which makes three mappings of one, is one change of protection") {
    CHECK(changes({make(10, 20)}, {make(10, 13), make(13, 14, PROT_READ), make(14, 20)}) ==
          "protection 13-14>13-14");
    CHECK(changes({make(10, 13), make(13, 14, PROT_READ), make(14, 20)}, {make(10, 20)}) ==
          "protection 13-14>13-14");
}

TEST_CASE("a split or a join alone is no change") {
    CHECK(changes({make(10, 20)}, {make(10, 15), make(15, 20)}).empty());
    CHECK(changes({make(10, 15), make(15, 20)}, {make(10, 20)}).empty());
}

TEST_CASE("munmap of the middle is that range, of an end a shrunk mapping") {
    CHECK(changes({make(10, 20)}, {make(10, 13), make(15, 20)}) == "unmapped 13-15>");
    CHECK(changes({make(10, 20)}, {make(10, 15)}) == "shrunk 10-20>10-15");
}

TEST_CASE("a mapping that grew at either end has grown once") {
    CHECK(changes({make(10, 20)}, {make(8, 20)}) == "grown 10-20>8-20");
    CHECK(changes({make(10, 20)}, {make(8, 25)}) == "grown 10-20>8-25");
}

TEST_CASE("another file, or another part of the same, at the same place is a replacement") {
    CHECK(changes({make(10, 20, PROT_READ, "/a")}, {make(10, 20, PROT_READ, "/b")}) ==
          "replaced 10-20>10-20");
    images::Mapping later = make(10, 20, PROT_READ, "/a");
    later.offset = k_page;
    CHECK(changes({make(10, 20, PROT_READ, "/a")}, {later}) == "replaced 10-20>10-20");
}

TEST_CASE("mremap to another place is a move, if the content says so") {
    auto same = [](const images::Mapping&, const images::Mapping&) { return true; };
    auto other = [](const images::Mapping&, const images::Mapping&) { return false; };
    CHECK(changes({make(10, 20)}, {make(50, 60)}, same) == "moved 10-20>50-60");
    CHECK(changes({make(10, 20)}, {make(50, 70)}, same) == "moved 10-20>50-70");
    CHECK(changes({make(10, 20)}, {make(50, 60)}, other) == "unmapped 10-20>, mapped >50-60");
    CHECK(changes({make(10, 20)}, {make(50, 60)}) == "unmapped 10-20>, mapped >50-60");
    // What is still there in part has not moved.
    CHECK(changes({make(10, 20)}, {make(10, 15), make(50, 55)}, same) == "shrunk 10-20>10-15, mapped >50-55");
}

TEST_CASE("a map of very many mappings that all changed is answered without trying each pair") {
    std::vector<images::Mapping> a, b;
    for (uint64_t i = 0; i < 60000; ++i) {
        a.push_back(make(2 * i, 2 * i + 1));
        b.push_back(make(1000000 + 2 * i, 1000000 + 2 * i + 1));
    }
    int asked = 0;
    changes(a, b, [&](const images::Mapping&, const images::Mapping&) { return ++asked < 0; });
    CHECK(asked == 0);
}

#include "images/image_kinds.h"

#include <catch2/catch_test_macros.hpp>
#include <map>
#include <set>
#include <string>

using namespace cprewind::images;

namespace {
std::string kind_of(std::string_view file) {
    auto found = find_image_kind(file);
    return found ? found->kind->name : "";
}
}  // namespace

TEST_CASE("a file name leads to its kind and number") {
    CHECK(kind_of("inventory.img") == "INVENTORY");
    CHECK(find_image_kind("core-17.img")->number == 17);
    CHECK(kind_of("pagemap-17.img") == "PAGEMAP");
    CHECK(kind_of("pagemap-shmem-17.img") == "SHMEM_PAGEMAP");
    CHECK(kind_of("stats-dump") == "STATS");
    CHECK(kind_of("tmpfs-dev-55.tar.gz.img") == "TMPFS_DEV");
    CHECK(kind_of("amdgpu-pages-3-00ff.img") == "AMDGPU_PAGES");
}

TEST_CASE("numbers are hexadecimal where CRIU writes them so") {
    CHECK(find_image_kind("ghost-file-1f.img")->number == 0x1f);
    CHECK(image_file_name(image_kind("GHOST_FILE"), 0x1f) == "ghost-file-1f.img");
    CHECK(image_file_name(image_kind("CORE"), 31) == "core-31.img");
}

TEST_CASE("a name that only looks like an image is none") {
    for (const char* name : {"core-.img", "core-1x.img", "core-1.img.bak", "core-99999999999999999999999.img",
                             "Core-1.img", "core--1.img", "", "dump.log", "x/core-1.img"}) {
        INFO(name);
        CHECK_FALSE(find_image_kind(name).has_value());
    }
}

TEST_CASE("names and patterns of kinds are unique and lead back to themselves") {
    std::set<std::string> names;
    for (const ImageKind& kind : all_image_kinds()) {
        INFO(kind.name);
        CHECK(names.insert(kind.name).second);
        CHECK((kind.magic == 0) == (kind.head == ImageHead::raw));
        if (std::string_view(kind.pattern).find("-%u-%x") != std::string_view::npos) continue;
        auto found = find_image_kind(image_file_name(kind, 7));
        REQUIRE(found.has_value());
        CHECK(std::string(found->kind->name) == kind.name);
    }
}

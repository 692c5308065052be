#include "cli/output_tree.h"

#include <fcntl.h>

#include <catch2/catch_test_macros.hpp>
#include <filesystem>

#include "base/error.h"

using namespace cprewind;
namespace fs = std::filesystem;

namespace {

struct Place {
    base::TemporaryDirectory scratch{fs::temp_directory_path(), "output-tree-"};
    fs::path root = scratch.path() / "out";
    fs::path outside = scratch.path() / "outside";
    Place() { fs::create_directory(outside); }
};

}  // namespace

TEST_CASE("files and directories are made below the root, private to their owner") {
    Place place;
    cli::OutputTree tree(place.root);
    base::Fd file = tree.create_file("a/b/c");
    tree.make_directory("a/d");
    tree.make_directory("a/d");
    CHECK(fs::is_regular_file(place.root / "a/b/c"));
    CHECK(fs::status(place.root / "a/b/c").permissions() == fs::perms(0600));
    CHECK(fs::status(place.root / "a").permissions() == fs::perms(0700));
    CHECK(fs::is_directory(place.root / "a/d"));
}

TEST_CASE("names that lead out of the root are refused") {
    Place place;
    cli::OutputTree tree(place.root);
    for (const char* name : {"../x", "a/../../x", "/x", "", ".", "a//b", "a/."}) {
        INFO(name);
        CHECK_THROWS_AS(tree.create_file(name), base::Error);
        CHECK_THROWS_AS(tree.make_directory(name), base::Error);
    }
    CHECK(fs::is_empty(place.outside));
}

TEST_CASE("no link is followed, whether it stands for the file or on the way to it") {
    Place place;
    cli::OutputTree tree(place.root);
    fs::create_directory_symlink(place.outside, place.root / "way");
    fs::create_symlink(place.outside / "file", place.root / "file");
    CHECK_THROWS_AS(tree.create_file("way/x"), base::Error);
    CHECK_THROWS_AS(tree.create_file("file"), base::Error);
    CHECK_THROWS_AS(tree.make_directory("way"), base::Error);
    CHECK(fs::is_empty(place.outside));
}

TEST_CASE("what is there already is not overwritten") {
    Place place;
    cli::OutputTree tree(place.root);
    { base::Fd first = tree.create_file("x"); }
    CHECK_THROWS_AS(tree.create_file("x"), base::Error);
}

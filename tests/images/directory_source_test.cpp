#include "images/directory_source.h"

#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <filesystem>

#include "base/error.h"
#include "images/checkpoint.h"

using namespace cprewind::images;
namespace base = cprewind::base;
namespace fs = std::filesystem;

namespace {

struct Directory {
    base::TemporaryDirectory temporary{fs::temp_directory_path(), "images-test-"};
    const fs::path& path = temporary.path();

    void write(const std::string& name, std::string_view content) const {
        fs::create_directories((path / name).parent_path());
        base::replace_file(path / name, content);
    }
};

}  // namespace

TEST_CASE("files are listed sorted, with what lies below, and read at any offset") {
    Directory d;
    d.write("b.img", "bytes");
    d.write("a.img", "");
    d.write("below/c.img", "c");
    DirectorySource source(d.path);
    CHECK(source.list() == std::vector<std::string>{"a.img", "b.img", "below/c.img"});
    auto file = source.open("b.img");
    REQUIRE(file);
    CHECK(file->size() == 5);
    std::vector<std::byte> out(10);
    CHECK(file->read_at(2, out) == 3);
    CHECK(file->read_at(99, out) == 0);
    CHECK(*read_whole(source, "below/c.img") == "c");
    CHECK(read_whole(source, "absent") == nullptr);
}

TEST_CASE("a file larger than the limit is an error, not a part of it") {
    Directory d;
    d.write("big", "12345");
    DirectorySource source(d.path);
    CHECK_THROWS_AS(read_whole(source, "big", 4), base::Error);
    CHECK(*read_whole(source, "big", 5) == "12345");
}

TEST_CASE("links are not followed, and what is no regular file does not exist") {
    Directory d;
    d.write("real.img", "x");
    d.write("deep/real.img", "x");
    fs::create_symlink("real.img", d.path / "link.img");
    fs::create_directory_symlink("deep", d.path / "linked");
    REQUIRE(mkfifo((d.path / "fifo.img").c_str(), 0600) == 0);
    DirectorySource source(d.path);
    CHECK(source.list() == std::vector<std::string>{"deep/real.img", "real.img"});
    for (const char* name : {"link.img", "linked/real.img", "fifo.img", "deep", ".", "..", "../x",
                             "/etc/passwd", "", "deep//real.img", "real.img/x"}) {
        INFO(name);
        CHECK(source.open(name) == nullptr);
    }
}

TEST_CASE("no name leads out of the directory") {
    Directory d;
    d.write("outside.img", "x");
    d.write("inside/deep/file.img", "x");
    DirectorySource source(d.path / "inside");
    CHECK(source.open("../outside.img") == nullptr);
    CHECK(source.open("deep/../deep/file.img") == nullptr);
    CHECK(source.open((d.path / "outside.img").string()) == nullptr);
    CHECK(source.open("deep/file.img") != nullptr);
}

TEST_CASE("the parent of an incremental dump is reached through its link, but not listed") {
    Directory d;
    d.write("first/pages-1.img", "first");
    d.write("second/pages-1.img", "second");
    fs::create_directory_symlink("../first", d.path / "second" / "parent");
    fs::create_directory_symlink("../second", d.path / "first" / "parent");
    DirectorySource source(d.path / "second");
    CHECK(source.list() == std::vector<std::string>{"pages-1.img"});
    CHECK(*read_whole(source, "parent/pages-1.img") == "first");
    CHECK(*read_whole(source, "parent/parent/pages-1.img") == "second");
    std::string endless;
    for (int i = 0; i < 1000; ++i) endless += "parent/";
    CHECK(source.open(endless + "pages-1.img") == nullptr);
}

TEST_CASE("what is no directory is an error that names it") {
    Directory d;
    d.write("file", "");
    CHECK_THROWS_AS(DirectorySource(d.path / "file"), base::Error);
    CHECK_THROWS_AS(DirectorySource(d.path / "absent"), base::Error);
}

TEST_CASE("a prefixed source is a view of what lies below") {
    Directory d;
    d.write("images/pstree.img", "tree");
    d.write("layer.tree", "layer");
    DirectorySource source(d.path);
    PrefixedSource images(source, "images/");
    CHECK(images.list() == std::vector<std::string>{"pstree.img"});
    CHECK(*read_whole(images, "pstree.img") == "tree");
    CHECK(images.open("layer.tree") == nullptr);
    CHECK(is_checkpoint(images));
    CHECK_FALSE(is_checkpoint(source));
}

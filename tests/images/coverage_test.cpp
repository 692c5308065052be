// Every byte of every fixture is accounted for, and what is wrong with an image shows in the column it belongs to.
#include "images/coverage.h"

#include <catch2/catch_test_macros.hpp>
#include <filesystem>
#include <set>

#include "images/directory_source.h"
#include "images/proto/process.pb.h"
#include "tests/images/image_builder.h"

using namespace cprewind::images;
using namespace cprewind::images::test;
namespace criu = cprewind::criu;

namespace {

FileCoverage of(const Coverage& coverage, std::string_view name) {
    for (const FileCoverage& file : coverage.files) {
        if (file.file == name) return file;
    }
    FAIL("no file " << name);
    return {};
}

MemorySource kitchen() {
    return copy_of(DirectorySource(CPREWIND_FIXTURES "/kitchen"));
}

}  // namespace

TEST_CASE("of every file of every fixture the parts sum up to its size, and none is unknown or senseless") {
    std::set<std::filesystem::path> directories;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(CPREWIND_FIXTURES)) {
        if (entry.path().filename() == "pstree.img") directories.insert(entry.path().parent_path());
    }
    REQUIRE(directories.size() > 30);
    for (const auto& directory : directories) {
        Coverage coverage = cover(DirectorySource(directory));
        uint64_t all = 0;
        for (const FileCoverage& file : coverage.files) {
            INFO((directory / file.file).string());
            CHECK(file.size == std::filesystem::file_size(directory / file.file));
            CHECK(file.sum() == file.size);
            CHECK(file.unknown_field + file.unknown_file + file.senseless == 0);
            all += file.size;
        }
        CHECK(coverage.total.size == all);
        CHECK(coverage.total.sum() == all);
        CHECK(coverage.total.understood > all / 2);
    }
}

TEST_CASE(
    "an image cut at any byte is understood up to the last whole entry, and the parts sum up all the same") {
    MemorySource whole = kitchen();
    for (const char* name :
         {"files.img", "pstree.img", "pipes-data.img", "ghost-file-1.img", "mountpoints-13.img"}) {
        const std::string content = whole.files.at(name);
        MemorySource cut;
        for (size_t size = 0; size < content.size(); ++size) {
            cut.files[name] = content.substr(0, size);
            FileCoverage file = of(cover(cut), name);
            INFO(name << " cut to " << size);
            REQUIRE(file.sum() == size);
            REQUIRE(file.unknown_field == 0);
        }
    }
}

TEST_CASE("bytes of unknown fields, unknown files, raw images and stray memory are told apart") {
    MemorySource source = kitchen();
    criu::pstree_entry entry;
    entry.set_pid(1);
    entry.set_ppid(0);
    entry.set_pgid(1);
    entry.set_sid(1);
    std::string known = make_image("PSTREE", entry);
    entry.mutable_unknown_fields()->AddLengthDelimited(100, "from the future");
    source.files["pstree.img"] = make_image("PSTREE", entry);
    source.files["what.img"] = "nobody knows";
    source.files["iptables-10.img"] = "*filter";
    source.files["pages-1.img"] += std::string(5000, 'x');
    source.files["tcp-stream-5.img"] = "no image at all";
    Coverage coverage = cover(source);
    CHECK(of(coverage, "pstree.img").understood == known.size());
    CHECK(of(coverage, "pstree.img").unknown_field == 2 + 1 + 15);
    CHECK(of(coverage, "what.img").unknown_file == 12);
    CHECK(of(coverage, "iptables-10.img").unread == 7);
    CHECK(of(coverage, "pages-1.img").senseless == 5000);
    CHECK(of(coverage, "tcp-stream-5.img").senseless == 15);
    CHECK(of(coverage, "cgroup.img").decoded == source.files["cgroup.img"].size());
    CHECK(coverage.total.sum() == coverage.total.size);
}

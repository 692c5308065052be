#include "images/rootfs_diff.h"

#include <algorithm>
#include <catch2/catch_test_macros.hpp>

#include "base/fd.h"
#include "images/open_source.h"
#include "tests/images/image_builder.h"
#include "tests/images/tar_builder.h"

using namespace cprewind::images;
using namespace cprewind::images::test;
namespace base = cprewind::base;

namespace {

FileTree read(const std::string& bytes, Findings& findings, Whiteouts whiteouts = Whiteouts::none) {
    return read_file_tree(std::make_shared<MemoryFile>(bytes), "rootfs-diff.tar", whiteouts, findings);
}

// "etc/ etc/x=3 -gone": directories, files with their size, whiteouts.
std::string picture(const LayerTree& tree) {
    std::vector<std::string> words;
    for (const LayerEntry& entry : tree.entries) {
        std::string opaque = entry.xattrs.contains("trusted.overlay.opaque") ? "!" : "";
        words.push_back(entry.is_whiteout()                 ? "-" + entry.path
                        : entry.type == FileType::directory ? entry.path + "/" + opaque
                        : entry.type == FileType::regular   ? fmt::format("{}={}", entry.path, entry.size)
                                                            : entry.path + "?");
    }
    return base::join(words, " ");
}

const LayerEntry* find(const LayerTree& tree, const std::string& path) {
    auto found = std::find_if(tree.entries.begin(), tree.entries.end(),
                              [&](const LayerEntry& entry) { return entry.path == path; });
    return found == tree.entries.end() ? nullptr : &*found;
}

}  // namespace

TEST_CASE("directories that a layer only implies are there, and its files have their content") {
    Findings findings;
    FileTree layer = read(member("etc/deep/x", "abc") + member("a", "") + end_of_tar(), findings);
    CHECK(findings.empty());
    CHECK(picture(layer.tree) == "/ a=0 etc/ etc/deep/ etc/deep/x=3");
    add_digests(layer.tree, *layer.data);
    CHECK(find(layer.tree, "etc/deep/x")->digest == base::digest_of(base::as_bytes("abc")));
    CHECK(find(layer.tree, "a")->digest == base::digest_of({}));
}

TEST_CASE("an OCI layer's whiteouts become overlay's, whatever comes first") {
    std::string plain = member("etc/.wh.passwd", "") + member("var/.wh..wh..opq", "") +
                        make_header("var/", 0, '5') + member("var/new", "n") + member(".wh..wh.plnk", "") +
                        end_of_tar();
    for (const std::string& bytes : {gzip(plain), zstd(plain)}) {
        Findings findings;
        FileTree layer = read(bytes, findings);
        CHECK(picture(layer.tree) == "/ etc/ -etc/passwd var/! var/new=1");
        CHECK(findings.empty());
    }
    Findings findings;
    CHECK(picture(read(plain, findings).tree).find(".wh.passwd=0") != std::string::npos);
    CHECK(picture(read(plain, findings, Whiteouts::oci).tree).find("-etc/passwd") != std::string::npos);
}

TEST_CASE("deleted.files hides files and whole directories, and what is no path is a finding") {
    Findings findings;
    FileTree layer = read(member("srv/a", "1") + member("srv/b/c", "2") + end_of_tar(), findings);
    apply_deleted_files(layer.tree, R"(["/etc/passwd", "/srv/b", "/../x", 7, ""])", "deleted.files",
                        findings);
    CHECK(picture(layer.tree) == "/ etc/ -etc/passwd srv/ srv/a=1 -srv/b");
    CHECK(findings.size() == 3);
    findings.clear();
    for (const char* text : {"", "{}", "[\"/a\""})
        apply_deleted_files(layer.tree, text, "deleted.files", findings);
    CHECK(findings.size() == 3);
    CHECK(picture(layer.tree) == "/ etc/ -etc/passwd srv/ srv/a=1 -srv/b");
}

TEST_CASE("entries that cannot be are dropped and named") {
    Findings findings;
    std::string hard = make_header("link", 0, '1', "file"), lost = make_header("lost", 0, '1', "nothing");
    FileTree layer = read(member("file", "12") + member("file/below", "x") + hard + lost +
                              member("../out", "x") + make_header("claims", uint64_t{7} << 30),
                          findings);
    CHECK(picture(layer.tree) == "/ claims=0 file=2 link=2");
    CHECK(find(layer.tree, "link")->hard_link_to == "file");
    std::string all;
    for (const Finding& finding : findings) all += finding.message + "\n";
    for (const char* name : {"\"file/below\"", "\"lost\"", "\"../out\"", "\"claims\""}) {
        INFO(name);
        CHECK(all.find(name) != std::string::npos);
    }
    add_digests(layer.tree, *layer.data);
    CHECK(find(layer.tree, "link")->digest == find(layer.tree, "file")->digest);
}

TEST_CASE("a real export's changed and deleted files, volume and shared memory are read in place") {
    OpenedSource opened = open_source(CPREWIND_FIXTURES "/archives/podman-files-later.tar.gz");
    REQUIRE(opened.layer);
    CHECK(opened.findings.empty());
    std::string seen = picture(opened.layer->tree);
    for (const char* part :
         {"-etc/group", "-etc/passwd", "etc/x=2", "link?", "newfile=9", "srv/deep/er/file=5"}) {
        INFO(part);
        CHECK(seen.find(part) != std::string::npos);
    }
    add_digests(opened.layer->tree, *opened.layer->data);
    CHECK(find(opened.layer->tree, "newfile")->digest == base::digest_of(base::as_bytes("new\nmore\n")));
    REQUIRE(opened.trees.size() == 2);
    CHECK(opened.trees[0].name == "devshm-checkpoint.tar");
    CHECK(find(opened.trees[0].tree, "s"));
    CHECK(opened.trees[1].name == "volumes/vol1.tar");
    CHECK(find(opened.trees[1].tree, "f"));
}

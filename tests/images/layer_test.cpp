#include "images/layer.h"

#include <catch2/catch_test_macros.hpp>
#include <random>

#include "base/error.h"
#include "base/fd.h"

using namespace cprewind::images;
namespace base = cprewind::base;

namespace {

constexpr uint64_t k_data_size = 1000;

LayerEntry make_entry(const std::string& path, FileType type) {
    LayerEntry entry;
    entry.path = path;
    entry.type = type;
    entry.mode = type == FileType::directory ? 0755 : 04711;
    entry.uid = 1000;
    entry.gid = 100;
    entry.mtime_ns = -5;
    entry.ctime_ns = 1'700'000'000'123'456'789;
    entry.inode = 77;
    if (type == FileType::symlink) entry.link_target = "../anywhere";
    return entry;
}

LayerTree make_tree() {
    LayerTree tree;
    tree.entries.push_back(make_entry("", FileType::directory));
    tree.entries.push_back(make_entry("dev", FileType::character_device));
    tree.entries.back().rdev = 0x103;
    tree.entries.push_back(make_entry("dir", FileType::directory));
    tree.entries.back().xattrs["trusted.overlay.opaque"] = "y";
    tree.entries.push_back(make_entry("dir/file", FileType::regular));
    tree.entries.back().size = 5000;
    tree.entries.back().extents = {{0, 0, 100}, {4096, 100, 904}};
    tree.entries.back().xattrs["user.\xff"] = std::string("\0\1", 2);
    tree.entries.back().digest = base::digest_of(base::as_bytes("content"));
    tree.entries.push_back(make_entry("dir/hard", FileType::regular));
    tree.entries.back().hard_link_to = "dir/file";
    tree.entries.back().size = 5000;
    tree.entries.push_back(make_entry("dir/link", FileType::symlink));
    tree.entries.push_back(make_entry("gone", FileType::character_device));
    tree.entries.push_back(make_entry("pipe\n\xff", FileType::fifo));
    return tree;
}

bool equal(const LayerEntry& a, const LayerEntry& b) {
    return a.path == b.path && a.type == b.type && a.mode == b.mode && a.uid == b.uid && a.gid == b.gid &&
           a.rdev == b.rdev && a.mtime_ns == b.mtime_ns && a.ctime_ns == b.ctime_ns && a.inode == b.inode &&
           a.size == b.size && a.link_target == b.link_target && a.hard_link_to == b.hard_link_to &&
           a.xattrs == b.xattrs && a.extents == b.extents && a.digest == b.digest;
}

// The paths that are left when `bad` follows a root and a directory "dir" with a file "dir/file".
size_t entries_with(LayerEntry bad, Findings& findings) {
    LayerTree tree;
    tree.entries.push_back(make_entry("", FileType::directory));
    tree.entries.push_back(make_entry("dir", FileType::directory));
    tree.entries.push_back(make_entry("dir/file", FileType::regular));
    tree.entries.push_back(std::move(bad));
    return parse_layer(encode_layer(tree), k_data_size, findings).entries.size();
}

}  // namespace

TEST_CASE("a layer comes back as it was encoded, every field of it") {
    LayerTree tree = make_tree();
    Findings findings;
    LayerTree back = parse_layer(encode_layer(tree), k_data_size + 4, findings);
    CHECK(findings.empty());
    REQUIRE(back.entries.size() == tree.entries.size());
    for (size_t i = 0; i < tree.entries.size(); ++i) {
        INFO(tree.entries[i].path);
        CHECK(equal(tree.entries[i], back.entries[i]));
    }
    CHECK(back.entries[6].is_whiteout());
    CHECK_FALSE(back.entries[1].is_whiteout());
}

TEST_CASE("entries that make no sense are dropped with a finding") {
    struct Case {
        const char* what;
        LayerEntry entry;
    };
    std::vector<Case> cases;
    for (const char* path : {"/etc/passwd", "..", ".", "dir/..", "../up", "dir/../../up", "dir/./x", "dir//x",
                             "dir/", "", "dir/file/x", "nowhere/x", "dir", "dir/file"}) {
        cases.push_back({path, make_entry(path, FileType::regular)});
    }
    cases.push_back({"zero byte", make_entry(std::string("a\0b", 3), FileType::regular)});
    LayerEntry data = make_entry("x", FileType::regular);
    data.size = 2000;
    for (LayerExtent extent :
         {LayerExtent{0, 0, k_data_size + 1}, LayerExtent{0, k_data_size, 1}, LayerExtent{0, UINT64_MAX, 2},
          LayerExtent{1999, 0, 2}, LayerExtent{0, 0, 0}, LayerExtent{UINT64_MAX, 0, 2}}) {
        data.extents = {extent};
        cases.push_back({"extent", data});
    }
    data.extents = {{0, 0, 100}, {99, 100, 100}};
    cases.push_back({"overlapping extents", data});
    data = make_entry("x", FileType::fifo);
    data.size = 100;
    data.extents = {{0, 0, 10}};
    cases.push_back({"fifo with data", data});
    LayerEntry link = make_entry("x", FileType::regular);
    for (const char* target : {"dir/none", "x", "dir", "/dir/file"}) {
        link.hard_link_to = target;
        cases.push_back({target, link});
    }
    LayerEntry symlink = make_entry("x", FileType::symlink);
    symlink.link_target.clear();
    cases.push_back({"symlink to nowhere", symlink});
    LayerEntry mode = make_entry("x", FileType::regular);
    mode.mode = 0100644;
    cases.push_back({"mode with a type", mode});
    for (const Case& each : cases) {
        INFO(each.what);
        Findings findings;
        CHECK(entries_with(each.entry, findings) == 3);
        CHECK(findings.size() == 1);
    }
    Findings findings;
    CHECK(entries_with(make_entry("dir/fine", FileType::regular), findings) == 4);
    CHECK(findings.empty());
}

TEST_CASE("a layer cut anywhere or with any bit flipped does not throw, and what is kept makes sense") {
    std::string whole = encode_layer(make_tree());
    auto check = [](const std::string& bytes) {
        Findings findings;
        LayerTree tree = parse_layer(bytes, k_data_size + 4, findings);
        for (const LayerEntry& entry : tree.entries) {
            REQUIRE(entry.path.find("..") == std::string::npos);
            for (const LayerExtent& extent : entry.extents) {
                REQUIRE(extent.data_offset + extent.length <= k_data_size + 4);
            }
        }
    };
    for (size_t size = 0; size < whole.size(); ++size) check(whole.substr(0, size));
    for (size_t bit = 0; bit < whole.size() * 8; ++bit) {
        std::string flipped = whole;
        flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
        check(flipped);
    }
    Findings findings;
    CHECK(parse_layer("", 0, findings).entries.empty());
    CHECK_FALSE(findings.empty());
}

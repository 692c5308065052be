#include "inspect/layer_diff.h"

#include <catch2/catch_test_macros.hpp>

#include "base/fd.h"

using namespace cprewind::inspect;
namespace images = cprewind::images;
namespace base = cprewind::base;
using images::FileType;
using images::LayerEntry;
using images::LayerTree;

namespace {

LayerEntry make_entry(const std::string& path, FileType type, std::string_view content = {}) {
    LayerEntry entry;
    entry.path = path;
    entry.type = type;
    entry.mode = 0644;
    if (type == FileType::regular) {
        entry.size = content.size();
        entry.digest = base::digest_of(base::as_bytes(content));
    }
    return entry;
}

LayerTree make_tree(std::vector<LayerEntry> entries) {
    LayerTree tree;
    tree.entries.push_back(make_entry("", FileType::directory));
    for (LayerEntry& entry : entries) tree.entries.push_back(std::move(entry));
    return tree;
}

LayerChange only_change(LayerEntry before, LayerEntry after) {
    LayerDiff diff = diff_layers(make_tree({std::move(before)}), make_tree({std::move(after)}));
    REQUIRE(diff.changes.size() == 1);
    return diff.changes[0];
}

}  // namespace

TEST_CASE("a file written again with the same bytes is the same") {
    LayerEntry before = make_entry("log", FileType::regular, "same"), after = before;
    after.mtime_ns = 99;
    after.ctime_ns = 99;
    after.inode = 7;
    LayerDiff diff = diff_layers(make_tree({before}), make_tree({after}));
    CHECK(diff.same());
    CHECK(diff.unchanged == 2);
}

TEST_CASE("content, metadata and type are told apart") {
    LayerEntry file = make_entry("f", FileType::regular, "aaa");
    LayerChange content = only_change(file, make_entry("f", FileType::regular, "bbb"));
    CHECK((content.content && !content.metadata && !content.type_changed));

    LayerEntry other = file;
    other.mode = 0755;
    LayerChange mode = only_change(file, other);
    CHECK((!mode.content && mode.metadata && !mode.type_changed));
    other = file;
    other.xattrs["user.x"] = "1";
    CHECK(only_change(file, other).metadata);

    LayerChange type = only_change(file, make_entry("f", FileType::directory));
    CHECK((type.type_changed && !type.content));

    LayerEntry link = make_entry("f", FileType::symlink), elsewhere = link;
    elsewhere.link_target = "x";
    CHECK(only_change(link, elsewhere).content);
}

TEST_CASE("without a digest on both sides times decide") {
    LayerEntry before = make_entry("f", FileType::regular, "aaa"), after = before;
    after.digest.reset();
    CHECK(diff_layers(make_tree({before}), make_tree({after})).same());
    after.mtime_ns = 1;
    CHECK(only_change(before, after).content);
}

TEST_CASE("added, removed and whiteouts come sorted, with the bytes they are worth") {
    LayerEntry whiteout = make_entry("b", FileType::character_device);
    LayerDiff diff = diff_layers(make_tree({make_entry("c", FileType::regular, "12345"),
                                            make_entry("d", FileType::regular, "1234567890")}),
                                 make_tree({make_entry("a", FileType::regular, "123"), whiteout,
                                            make_entry("d", FileType::regular, "12")}));
    REQUIRE(diff.changes.size() == 4);
    CHECK(diff.changes[0].path == "a");
    CHECK(diff.changes[0].fate == LayerFate::added);
    CHECK(diff.changes[1].is_whiteout);
    CHECK(diff.changes[2].fate == LayerFate::removed);
    CHECK(diff.changes[2].size_before == 5);
    CHECK(diff.changes[3].size_after == 2);
    CHECK(diff.bytes_added == 3);
    CHECK(diff.bytes_removed == 13);
}

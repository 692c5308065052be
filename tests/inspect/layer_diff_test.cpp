#include "inspect/layer_diff.h"

#include <catch2/catch_test_macros.hpp>
#include <random>
#include <set>
#include <tuple>

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

namespace {

// A tree out of few names, contents, times and owners, so that two of them have much in common.
LayerTree random_tree(std::mt19937& random) {
    auto one_of = [&](unsigned count) { return random() % count; };
    constexpr FileType k_types[] = {FileType::regular,   FileType::regular, FileType::regular,
                                    FileType::directory, FileType::symlink, FileType::character_device};
    std::vector<LayerEntry> entries;
    std::string last_file;
    for (const char* name : {"a", "b", "c", "d", "e", "f", "g"}) {
        if (one_of(3) == 0) continue;
        FileType type = k_types[one_of(6)];
        LayerEntry entry = make_entry(name, type, std::string_view("xyz").substr(0, one_of(4)));
        entry.mode = one_of(4) == 0 ? 0600 : 0644;
        entry.mtime_ns = one_of(3);
        entry.ctime_ns = one_of(2);
        entry.inode = one_of(4);
        if (type == FileType::regular && one_of(5) == 0) entry.digest.reset();
        if (type == FileType::regular && entry.size > 1 && one_of(3) == 0)
            entry.extents = {{one_of(2), 0, 1}};
        if (type == FileType::symlink) entry.link_target = one_of(2) == 0 ? "x" : "y";
        if (one_of(6) == 0) entry.xattrs["user.colour"] = one_of(2) == 0 ? "red" : "blue";
        if (type == FileType::regular && !last_file.empty() && one_of(3) == 0) {
            entry.hard_link_to = last_file;
            entry.extents.clear();
        }
        if (type == FileType::regular && entry.hard_link_to.empty()) last_file = name;
        entries.push_back(std::move(entry));
    }
    return make_tree(std::move(entries));
}

// What a change is, and what it is seen from the other side.
using Told =
    std::tuple<LayerFate, std::string, std::string, bool, bool, bool, bool, uint64_t, uint64_t, size_t>;
Told tell(const LayerChange& c) {
    return {c.fate,         c.path,  c.renamed_from, c.content,    c.metadata,
            c.type_changed, c.holes, c.size_before,  c.size_after, c.details.size()};
}
Told mirrored(const LayerChange& c) {
    LayerFate fate = c.fate == LayerFate::added     ? LayerFate::removed
                     : c.fate == LayerFate::removed ? LayerFate::added
                                                    : c.fate;
    bool renamed = fate == LayerFate::renamed;
    return {fate,
            renamed ? c.renamed_from : c.path,
            renamed ? c.path : "",
            c.content,
            c.metadata,
            c.type_changed,
            c.holes,
            c.size_after,
            c.size_before,
            c.details.size()};
}

}  // namespace

TEST_CASE("a diff of layers is antisymmetric, whatever was renamed, linked, hollowed or replaced") {
    std::mt19937 random(7);
    uint64_t renames = 0, links = 0;
    for (int round = 0; round < 3000; ++round) {
        LayerTree a = random_tree(random), b = random_tree(random);
        LayerDiff there = diff_layers(a, b), back = diff_layers(b, a);
        CAPTURE(round);
        std::multiset<Told> seen, expected;
        for (const LayerChange& change : there.changes) {
            seen.insert(tell(change));
            renames += change.fate == LayerFate::renamed;
            links += !change.hard_link_to.empty();
        }
        for (const LayerChange& change : back.changes) expected.insert(mirrored(change));
        REQUIRE((seen == expected));
        REQUIRE(there.unchanged == back.unchanged);
        REQUIRE(there.bytes_added == back.bytes_removed);
        REQUIRE(there.bytes_removed == back.bytes_added);
        REQUIRE(diff_layers(a, a).same());
    }
    CHECK(renames > 50);
    CHECK(links > 100);
}

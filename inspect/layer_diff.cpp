#include "inspect/layer_diff.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

namespace cprewind::inspect {

namespace {

using images::FileType;
using images::LayerEntry;

std::map<std::string, const LayerEntry*> by_path(const images::LayerTree& tree) {
    std::map<std::string, const LayerEntry*> entries;
    for (const LayerEntry& entry : tree.entries) entries.emplace(entry.path, &entry);
    return entries;
}

// A digest that was never taken proves nothing, so without one on both sides times have to do.
bool content_differs(const LayerEntry& a, const LayerEntry& b) {
    switch (a.type) {
        case FileType::regular:
            if (a.size != b.size) return true;
            if (a.digest && b.digest) return *a.digest != *b.digest;
            return a.mtime_ns != b.mtime_ns || a.ctime_ns != b.ctime_ns;
        case FileType::symlink:
            return a.link_target != b.link_target;
        case FileType::character_device:
        case FileType::block_device:
            return a.rdev != b.rdev;
        case FileType::directory:
        case FileType::fifo:
        case FileType::socket:
            return false;
    }
    return false;
}

// In words, for each side that differs.
std::vector<std::string> metadata_changes(const LayerEntry& a, const LayerEntry& b) {
    std::vector<std::string> words;
    if (a.mode != b.mode) words.push_back(fmt::format("mode {:04o} -> {:04o}", a.mode, b.mode));
    if (a.uid != b.uid) words.push_back(fmt::format("uid {} -> {}", a.uid, b.uid));
    if (a.gid != b.gid) words.push_back(fmt::format("gid {} -> {}", a.gid, b.gid));
    for (const auto& [name, value] : a.xattrs) {
        auto now = b.xattrs.find(name);
        if (now == b.xattrs.end()) {
            words.push_back("attribute " + name + " removed");
        } else if (now->second != value) {
            words.push_back("attribute " + name + " changed");
        }
    }
    for (const auto& [name, value] : b.xattrs) {
        if (!a.xattrs.contains(name)) words.push_back("attribute " + name + " added");
    }
    if (a.hard_link_to != b.hard_link_to) {
        words.push_back(b.hard_link_to.empty() ? "no hard link any more" : "hard link to /" + b.hard_link_to);
    }
    return words;
}

bool holes_differ(const LayerEntry& a, const LayerEntry& b) {
    auto same_place = [](const images::LayerExtent& x, const images::LayerExtent& y) {
        return x.file_offset == y.file_offset && x.length == y.length;
    };
    return a.type == FileType::regular && a.hard_link_to.empty() && b.hard_link_to.empty() &&
           !std::equal(a.extents.begin(), a.extents.end(), b.extents.begin(), b.extents.end(), same_place);
}

// A further name of the same content takes no space.
uint64_t space_of(const LayerEntry& entry) {
    return entry.hard_link_to.empty() ? entry.size : 0;
}

LayerChange make_change(const LayerEntry& entry, LayerFate fate) {
    LayerChange change;
    change.fate = fate;
    change.path = entry.path;
    change.type = entry.type;
    change.is_whiteout = entry.is_whiteout();
    change.hard_link_to = entry.hard_link_to;
    return change;
}

// Compares what is the same file; false when nothing differs.
bool compare(const LayerEntry& before, const LayerEntry& after, LayerChange& change) {
    change.size_before = before.size;
    change.size_after = after.size;
    change.type_changed = before.type != after.type || before.is_whiteout() != after.is_whiteout();
    change.content = !change.type_changed && content_differs(before, after);
    change.details = metadata_changes(before, after);
    change.metadata = !change.details.empty();
    change.holes = !change.type_changed && !change.content && holes_differ(before, after);
    return change.type_changed || change.content || change.metadata || change.holes;
}

// Added entries by what they may have been called before. A capture leaves out inode numbers that prove nothing later,
// so what renaming keeps has to do: type, time of modification, and content.
std::map<const LayerEntry*, const LayerEntry*> find_renames(
    const std::map<std::string, const LayerEntry*>& before,
    const std::map<std::string, const LayerEntry*>& after) {
    std::multimap<int64_t, const LayerEntry*> gone;
    for (const auto& [path, entry] : before) {
        if (!after.contains(path) && entry->hard_link_to.empty()) gone.emplace(entry->mtime_ns, entry);
    }
    std::map<const LayerEntry*, const LayerEntry*> renames;
    for (const auto& [path, entry] : after) {
        if (before.contains(path) || !entry->hard_link_to.empty() || entry->is_whiteout()) continue;
        auto [first, last] = gone.equal_range(entry->mtime_ns);
        auto match = std::find_if(first, last, [&now = *entry](const auto& candidate) {
            const LayerEntry& old = *candidate.second;
            bool other_inode = old.inode != 0 && now.inode != 0 && old.inode != now.inode;
            return !other_inode && old.type == now.type && !old.is_whiteout() && !content_differs(old, now);
        });
        if (match == last) continue;
        renames.emplace(entry, match->second);
        gone.erase(match);
    }
    return renames;
}

}  // namespace

LayerDiff diff_layers(const images::LayerTree& a, const images::LayerTree& b) {
    LayerDiff diff;
    auto before = by_path(a);
    auto after = by_path(b);
    auto renames = find_renames(before, after);
    auto count_bytes = [&](uint64_t old_size, uint64_t new_size) {
        (new_size > old_size ? diff.bytes_added : diff.bytes_removed) +=
            new_size > old_size ? new_size - old_size : old_size - new_size;
    };
    std::set<const LayerEntry*> renamed_away;
    for (const auto& [now, old] : renames) renamed_away.insert(old);
    for (const auto& [path, entry] : before) {
        if (after.contains(path) || renamed_away.contains(entry)) continue;
        LayerChange change = make_change(*entry, LayerFate::removed);
        change.size_before = entry->size;
        count_bytes(space_of(*entry), 0);
        diff.changes.push_back(std::move(change));
    }
    for (const auto& [path, entry] : after) {
        auto old = before.find(path);
        auto renamed = renames.find(entry);
        LayerChange change = make_change(*entry, LayerFate::added);
        uint64_t space_before = 0;
        if (old != before.end()) {
            change.fate = LayerFate::changed;
            space_before = space_of(*old->second);
            if (!compare(*old->second, *entry, change)) {
                ++diff.unchanged;
                continue;
            }
        } else if (renamed != renames.end()) {
            change.fate = LayerFate::renamed;
            change.renamed_from = renamed->second->path;
            space_before = space_of(*renamed->second);
            compare(*renamed->second, *entry, change);
        } else {
            change.size_after = entry->size;
        }
        count_bytes(space_before, space_of(*entry));
        diff.changes.push_back(std::move(change));
    }
    std::sort(diff.changes.begin(), diff.changes.end(),
              [](const LayerChange& x, const LayerChange& y) { return x.path < y.path; });
    return diff;
}

}  // namespace cprewind::inspect

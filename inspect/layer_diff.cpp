#include "inspect/layer_diff.h"

#include <algorithm>
#include <map>

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

bool metadata_differs(const LayerEntry& a, const LayerEntry& b) {
    return a.mode != b.mode || a.uid != b.uid || a.gid != b.gid || a.xattrs != b.xattrs ||
           a.hard_link_to != b.hard_link_to;
}

LayerChange make_change(const LayerEntry& entry, LayerFate fate) {
    LayerChange change;
    change.fate = fate;
    change.path = entry.path;
    change.type = entry.type;
    change.is_whiteout = entry.is_whiteout();
    return change;
}

}  // namespace

LayerDiff diff_layers(const images::LayerTree& a, const images::LayerTree& b) {
    LayerDiff diff;
    auto before = by_path(a);
    auto after = by_path(b);
    for (const auto& [path, entry] : before) {
        if (after.contains(path)) continue;
        LayerChange change = make_change(*entry, LayerFate::removed);
        change.size_before = entry->size;
        diff.bytes_removed += entry->size;
        diff.changes.push_back(std::move(change));
    }
    for (const auto& [path, entry] : after) {
        auto old = before.find(path);
        LayerChange change = make_change(*entry, LayerFate::added);
        change.size_after = entry->size;
        uint64_t old_size = 0;
        if (old != before.end()) {
            change.fate = LayerFate::changed;
            change.size_before = old_size = old->second->size;
            change.type_changed =
                old->second->type != entry->type || old->second->is_whiteout() != entry->is_whiteout();
            change.content = !change.type_changed && content_differs(*old->second, *entry);
            change.metadata = metadata_differs(*old->second, *entry);
            if (!change.type_changed && !change.content && !change.metadata) {
                ++diff.unchanged;
                continue;
            }
        }
        if (entry->size > old_size) {
            diff.bytes_added += entry->size - old_size;
        } else {
            diff.bytes_removed += old_size - entry->size;
        }
        diff.changes.push_back(std::move(change));
    }
    std::sort(diff.changes.begin(), diff.changes.end(),
              [](const LayerChange& x, const LayerChange& y) { return x.path < y.path; });
    return diff;
}

}  // namespace cprewind::inspect

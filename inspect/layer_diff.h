// What changed between two writable layers, judged by content and metadata, not by times: a file that was
// written again with the same bytes is the same.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "images/layer.h"

namespace cprewind::inspect {

// Renamed: the same content, time and type under another name; of a file of the container image, whose own
// inode does not show, a copy under the new name and a whiteout under the old, which is told as that.
enum class LayerFate { added, removed, changed, renamed };

struct LayerChange {
    LayerFate fate = LayerFate::changed;
    std::string path;                                   // "" is the layer's root
    images::FileType type = images::FileType::regular;  // after, or before when removed
    bool is_whiteout = false;  // the layer hides the container image's file of that name
    std::string renamed_from;
    std::string hard_link_to;  // after: shares its content with this path
    // Which sides of it changed; only for `changed` and `renamed`.
    bool content = false;   // bytes of a file, target of a symlink, numbers of a device
    bool metadata = false;  // mode, owner, attributes
    bool type_changed = false;
    bool holes = false;  // same content, but other parts of it take no space
    uint64_t size_before = 0;
    uint64_t size_after = 0;
    std::vector<std::string> details;  // of metadata: "mode 0644 -> 0755", "uid 0 -> 5", …
};

struct LayerDiff {
    std::vector<LayerChange> changes;  // sorted by path
    uint64_t unchanged = 0;
    uint64_t bytes_added = 0;  // sizes of added files and growth
    uint64_t bytes_removed = 0;

    bool same() const { return changes.empty(); }
};

LayerDiff diff_layers(const images::LayerTree& a, const images::LayerTree& b);

}  // namespace cprewind::inspect

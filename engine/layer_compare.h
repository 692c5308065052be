// What differs between a layer as it is and as it should be.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "engine/layer_io.h"
#include "images/layer.h"

namespace cprewind::engine {

// The layer without file data, sorted; names of one inode are told by their inode only.
images::LayerTree scan_layer(int layer);

// Throws (damaged) unless `tree` is what LayerCapture makes: the root first, strictly sorted, every entry in
// a directory, links to earlier entries, extents in order and inside the file and the data (`data_size`, if
// known). A tree that passes can be restored without a look back at what it says.
void check_layer_tree(const images::LayerTree& tree, std::optional<uint64_t> data_size);

struct LayerStep {
    LayerChange::Kind kind;
    const images::LayerEntry* current = nullptr;  // what is there, or null
    const images::LayerEntry* target = nullptr;   // what shall be there, or null

    LayerChange change() const;
};

// The steps from `current` to `target` in the order in which they can be done: removals, children first; then
// the rest in the target's order. Times of directories are not among them where all else is equal and only
// what they hold changes. The steps point into both trees. Reads files of `layer` whose content is in doubt.
std::vector<LayerStep> compare_layer(int layer, const images::LayerTree& current,
                                     const images::LayerTree& target);

}  // namespace cprewind::engine

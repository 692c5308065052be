// Moving the writable layer between the container's file system and a snapshot.
//
// Capture works in two passes so that the container stands still as little as possible: the first while it
// runs copies everything, the second, while it is frozen, copies again only what changed since. Restore puts
// back only differences.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/fd.h"
#include "images/image_source.h"
#include "images/layer.h"
#include "store/repository.h"

namespace cprewind::engine {

struct LayerBefore;
struct BorrowedRange;

// A layer being copied: `tree` points into the data file.
class LayerCapture {
 public:
    // `data_path` is created (0600) for the file data; must not exist. What is unchanged since `before` is not read but
    // borrowed from it.
    LayerCapture(std::filesystem::path layer, std::filesystem::path data_path,
                 std::shared_ptr<const LayerBefore> before = nullptr);
    ~LayerCapture();

    // Copies what is new or changed since the last pass (all, the first time). Files that vanish or change
    // while being read are not an error before the final pass. The last call's tree is the layer's state,
    // provided that nothing changed during that call. Bytes copied by this pass are returned.
    uint64_t pass();

    const images::LayerTree& tree() const { return tree_; }
    const std::filesystem::path& data_path() const { return data_path_; }

    // Fills in the digests of regular files, and drops from the data what no entry uses: after it, data() holds the
    // extents of tree(), each from the beginning of a page on, and nothing else. Inode and ctime become 0 where they
    // would not prove later that the file is unchanged. Not for the time of the freeze, and the last call.
    void finish();

    // After finish(): what the extents of tree() point into. The file at data_path() where nothing was borrowed. Lives no
    // longer than this.
    std::unique_ptr<images::ImageFile> data() const;
    // After finish(): where a store whose parent is `parent` finds what is in data() there.
    store::PageAddresses data_addresses(const std::optional<store::SnapshotId>& parent) const;

 private:
    // Its inode, size and times prove that a file is what an earlier pass read.
    bool is_settled(const images::LayerEntry& entry) const;
    void drop_garbage();
    void place_borrowed();

    std::filesystem::path layer_;
    std::filesystem::path data_path_;
    base::Fd data_;
    uint64_t data_size_ = 0;
    images::LayerTree tree_;
    std::shared_ptr<const LayerBefore> before_;
    std::unordered_map<std::string, images::LayerEntry> borrowable_;  // by path
    std::vector<BorrowedRange> borrowed_;                             // set by finish()
    std::optional<int64_t> settled_before_ns_;                        // set by the first pass
};

// One thing that restoring the layer would do or did.
struct LayerChange {
    enum class Kind { create, replace, metadata, remove } kind;
    std::string path;
    uint64_t bytes = 0;  // file data written
};

// What differs between `layer` as it is and `target`.
std::vector<LayerChange> plan_layer_restore(const std::filesystem::path& layer,
                                            const images::LayerTree& target);

// Makes `layer` equal to `target`, data coming from `data` (its "layer.data"). Only what differs is touched;
// a file that is replaced is written beside and renamed. The layer must not be mounted. Never follows a
// symlink, never leaves `layer`. Throws on the first failure: the caller then restores what was before.
std::vector<LayerChange> restore_layer(const std::filesystem::path& layer, const images::LayerTree& target,
                                       const images::ImageFile* data);

}  // namespace cprewind::engine

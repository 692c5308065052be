// What the parent snapshot holds of a layer: what has not changed since need be neither read nor stored again, and what
// has changed is looked for where it was.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/fd.h"
#include "images/image_source.h"
#include "images/layer.h"
#include "store/repository.h"

namespace cprewind::engine {

struct LayerBefore {
    store::SnapshotId snapshot;
    images::LayerTree tree;
    std::shared_ptr<const images::ImageFile> data;  // its layer.data
};

// Of the snapshot that the container's state descends from. Null where there is none or it cannot be read: it only saves
// time and space.
std::shared_ptr<const LayerBefore> load_layer_before(const store::Repository& repository,
                                                     const std::string& container_id);

// `length` bytes at `offset` of the new layer.data are those at `there` of the parent's.
struct BorrowedRange {
    uint64_t offset = 0;
    uint64_t length = 0;
    uint64_t there = 0;
};

// layer.data made of a file with holes and of ranges of the parent's in them, sorted by offset. Borrows `own`.
class LayerDataFile : public images::ImageFile {
 public:
    LayerDataFile(int own, uint64_t size, std::vector<BorrowedRange> borrowed,
                  std::shared_ptr<const LayerBefore> before)
        : own_(own), size_(size), borrowed_(std::move(borrowed)), before_(std::move(before)) {}

    uint64_t size() const override { return size_; }
    size_t read_at(uint64_t offset, std::span<std::byte> out) const override;

 private:
    int own_;
    uint64_t size_;
    std::vector<BorrowedRange> borrowed_;
    std::shared_ptr<const LayerBefore> before_;
};

// Where the store finds in the parent what `tree` has: the borrowed ranges, and what lay at the same place of the same
// file (of that path, or of that inode when a log was rotated).
store::PageAddresses layer_addresses(const images::LayerTree& tree,
                                     const std::vector<BorrowedRange>& borrowed, const LayerBefore& before);

}  // namespace cprewind::engine

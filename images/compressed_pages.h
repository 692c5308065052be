// pages-<n>.img of CRIU's development branch with --compress, shown as if it were not compressed.
//
// Each run of pages is cut into blocks of so many pages; the pagemap has the stored size of each:
//   0                    nothing is stored, all zeros
//   as long as the block stored as it is
//   else                 one LZ4 block (no frame around it) of exactly the block's length
// The blocks lie one behind the other, those of a run with PE_PAYLOAD_ALIGNED from the next whole page on.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "images/image_source.h"

namespace cprewind::images {

struct PageBlock {
    uint64_t offset = 0;         // of its content
    uint64_t bytes = 0;          // at most k_block_limit when compressed
    uint64_t stored_offset = 0;  // in the pages file
    uint64_t stored_bytes = 0;
};

class CompressedPages : public ImageFile {
 public:
    // The largest region that CRIU can be told to compress as one.
    static constexpr uint64_t k_block_limit = 4u << 20;

    // `blocks` are sorted by offset without gaps.
    CompressedPages(std::unique_ptr<ImageFile> stored, std::vector<PageBlock> blocks)
        : stored_(std::move(stored)), blocks_(std::move(blocks)) {}

    uint64_t size() const override {
        return blocks_.empty() ? 0 : blocks_.back().offset + blocks_.back().bytes;
    }
    // A block that is damaged is an Error that says where it lies.
    size_t read_at(uint64_t offset, std::span<std::byte> out) const override;
    void expect(uint64_t offset, uint64_t size) const override;

 private:
    std::vector<PageBlock>::const_iterator find(uint64_t offset) const;
    void decode(const PageBlock& block) const;

    std::unique_ptr<ImageFile> stored_;
    std::vector<PageBlock> blocks_;
    mutable const PageBlock* decoded_ = nullptr;  // whose content `content_` has
    mutable std::vector<std::byte> content_;
};

}  // namespace cprewind::images

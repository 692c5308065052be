#include "images/compressed_pages.h"

#include <fmt/format.h>
#include <lz4.h>

#include <algorithm>

#include "base/error.h"

namespace cprewind::images {

void CompressedPages::decode(const PageBlock& block) const {
    if (decoded_ == &block) return;
    decoded_ = nullptr;
    std::vector<std::byte> stored(static_cast<size_t>(block.stored_bytes));
    content_.resize(static_cast<size_t>(block.bytes));
    size_t got = stored_->read_at(block.stored_offset, stored);
    int made = got < stored.size()
                   ? -1
                   : LZ4_decompress_safe(reinterpret_cast<const char*>(stored.data()),
                                         reinterpret_cast<char*>(content_.data()),
                                         static_cast<int>(stored.size()), static_cast<int>(content_.size()));
    if (made < 0 || static_cast<uint64_t>(made) != block.bytes) {
        throw base::Error(
            base::ErrorKind::damaged,
            fmt::format("the compressed block of {} bytes at byte {} of a pages image is damaged",
                        block.stored_bytes, block.stored_offset));
    }
    decoded_ = &block;
}

// The block that holds `offset`, if any does.
std::vector<PageBlock>::const_iterator CompressedPages::find(uint64_t offset) const {
    auto block = std::upper_bound(blocks_.begin(), blocks_.end(), offset,
                                  [](uint64_t wanted, const PageBlock& b) { return wanted < b.offset; });
    return block == blocks_.begin() ? block : block - 1;
}

void CompressedPages::expect(uint64_t offset, uint64_t size) const {
    for (auto block = find(offset); block != blocks_.end() && block->offset < offset + size; ++block)
        stored_->expect(block->stored_offset, block->stored_bytes);
}

size_t CompressedPages::read_at(uint64_t offset, std::span<std::byte> out) const {
    auto block = find(offset);
    size_t done = 0;
    for (; block != blocks_.end() && done < out.size(); ++block) {
        uint64_t skip = offset + done - block->offset;
        if (skip >= block->bytes) break;
        auto piece = out.subspan(
            done, static_cast<size_t>(std::min<uint64_t>(out.size() - done, block->bytes - skip)));
        if (block->stored_bytes == 0) {
            std::fill(piece.begin(), piece.end(), std::byte{0});
        } else if (block->stored_bytes == block->bytes) {
            size_t got = stored_->read_at(block->stored_offset + skip, piece);
            if (got < piece.size()) return done + got;
        } else {
            decode(*block);
            std::copy_n(content_.begin() + static_cast<ptrdiff_t>(skip), piece.size(), piece.begin());
        }
        done += piece.size();
    }
    return done;
}

}  // namespace cprewind::images

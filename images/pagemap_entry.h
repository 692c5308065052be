// One entry of a pagemap, with what CRIU's development branch says in it about LZ4 blocks: where each lies in the
// pages file follows from all entries before it.
#pragma once

#include <google/protobuf/unknown_field_set.h>

#include <cstdint>
#include <vector>

#include "images/compressed_pages.h"
#include "images/image_source.h"
#include "images/pages.h"

namespace cprewind::images {

struct PagemapEntry {
    uint64_t address = 0;
    uint64_t pages = 0;
    PageState state = PageState::present;
    bool aligned = false;            // its bytes begin at a whole page
    uint64_t block_pages = 0;        // 0: not compressed
    std::vector<uint32_t> blocks{};  // stored sizes
};

// What the fields about compression say, of either schema: numbers 6, 7, 8 directly (A), or a message in 6 (B)
// with block_sizes = 1, total_payload_size = 2, pages_per_block = 3. False when there is something else.
bool read_blocks(const google::protobuf::UnknownFieldSet& fields, PagemapEntry& entry);

// Where the blocks of all present runs lie; ends before the first one that cannot be, or is not there.
std::vector<PageBlock> lay_out_blocks(const std::vector<PagemapEntry>& entries, uint64_t page,
                                      uint64_t stored_size);

// The size of the file says nothing about the size of a page when the pages are compressed; what the first blocks
// decode to does. 4096 when no block tells.
uint64_t find_block_page_size(const std::vector<PagemapEntry>& entries, const ImageFile& pages);

}  // namespace cprewind::images

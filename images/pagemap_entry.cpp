#include "images/pagemap_entry.h"

#include <google/protobuf/io/coded_stream.h>
#include <lz4.h>

#include <algorithm>

namespace cprewind::images {

namespace {

// All blocks of a pagemap; a block costs 32 bytes.
constexpr size_t k_blocks_limit = 1u << 22;
// So many blocks are decoded to find the size of a page.
constexpr int k_probed_blocks = 16;

}  // namespace

bool read_blocks(const google::protobuf::UnknownFieldSet& fields, PagemapEntry& entry) {
    using google::protobuf::UnknownField;
    for (int i = 0; i < fields.field_count(); ++i) {
        const UnknownField& field = fields.field(i);
        bool number = field.type() == UnknownField::TYPE_VARINT;
        if (field.number() == 6 && number) {
            entry.blocks.push_back(static_cast<uint32_t>(field.varint()));
            if (entry.block_pages == 0) entry.block_pages = 1;
        } else if (field.number() == 8 && number) {
            entry.block_pages = field.varint();
        } else if (field.number() == 6 && field.type() == UnknownField::TYPE_LENGTH_DELIMITED) {
            google::protobuf::UnknownFieldSet inner;
            if (!inner.ParseFromString(field.length_delimited())) return false;
            for (int j = 0; j < inner.field_count(); ++j) {
                const UnknownField& part = inner.field(j);
                bool value = part.type() == UnknownField::TYPE_VARINT;
                if (part.number() == 1 && value) {
                    entry.blocks.push_back(static_cast<uint32_t>(part.varint()));
                } else if (part.number() == 1 && part.type() == UnknownField::TYPE_LENGTH_DELIMITED) {
                    google::protobuf::io::CodedInputStream packed(
                        reinterpret_cast<const uint8_t*>(part.length_delimited().data()),
                        static_cast<int>(part.length_delimited().size()));
                    uint32_t size = 0;
                    while (packed.ReadVarint32(&size)) entry.blocks.push_back(size);
                } else if (part.number() == 3 && value) {
                    entry.block_pages = part.varint();
                }
            }
        } else if (field.number() != 7) {
            return false;
        }
    }
    return true;
}

std::vector<PageBlock> lay_out_blocks(const std::vector<PagemapEntry>& entries, uint64_t page,
                                      uint64_t stored_size) {
    std::vector<PageBlock> out;
    uint64_t offset = 0, stored = 0;
    auto add = [&](uint64_t bytes, uint64_t stored_bytes) {
        bool fits = stored <= stored_size && stored_bytes <= stored_size - stored && stored_bytes <= bytes &&
                    bytes <= UINT64_MAX - offset && out.size() < k_blocks_limit;
        if (fits) out.push_back({offset, bytes, stored, stored_bytes});
        offset += bytes;
        stored += stored_bytes;
        return fits;
    };
    for (const PagemapEntry& entry : entries) {
        if (entry.state != PageState::present || entry.pages > UINT64_MAX / page) continue;
        if (entry.aligned) stored = (stored + page - 1) / page * page;
        uint64_t left = entry.pages * page;
        if (entry.block_pages == 0) {
            if (!add(left, left)) return out;
            continue;
        }
        if (entry.block_pages > CompressedPages::k_block_limit / page) return out;
        for (uint32_t size : entry.blocks) {
            uint64_t bytes = std::min(left, entry.block_pages * page);
            if (bytes == 0 || !add(bytes, size)) return out;
            left -= bytes;
        }
        if (left > 0) return out;
    }
    return out;
}

uint64_t find_block_page_size(const std::vector<PagemapEntry>& entries, const ImageFile& pages) {
    for (uint64_t page : {4096u, 16384u, 65536u}) {
        int probes = 0;
        bool fits = true, as_it_is = false;
        auto blocks = lay_out_blocks(entries, page, pages.size());
        for (const PageBlock& block : blocks) {
            if (block.stored_bytes == 0 || block.bytes > CompressedPages::k_block_limit) continue;
            if (++probes > k_probed_blocks) break;
            if (block.stored_bytes == block.bytes) {
                // Stored as it is, if a page has this size; if it were larger, a compressed one.
                as_it_is = true;
                continue;
            }
            std::vector<std::byte> stored(static_cast<size_t>(block.stored_bytes));
            if (pages.read_at(block.stored_offset, stored) < stored.size()) break;
            std::vector<std::byte> content(static_cast<size_t>(block.bytes));
            int made = LZ4_decompress_safe(reinterpret_cast<const char*>(stored.data()),
                                           reinterpret_cast<char*>(content.data()),
                                           static_cast<int>(stored.size()), static_cast<int>(content.size()));
            if (made >= 0 && static_cast<uint64_t>(made) == block.bytes) return page;
            fits = false;
            break;
        }
        if (fits && as_it_is) return page;
    }
    return 4096;
}

}  // namespace cprewind::images

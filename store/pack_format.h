// The bytes of a pack: one write-once file that holds a whole snapshot and suffices to make its catalog rows
// again.
//
//   pack    = header block* index info trailer                    integers are little-endian
//   header  = magic[8] "cprwpack"  version u32  reserved u32 (0)
//   block   = the stored bytes of one block, in whatever order the workers finished; no gaps, no overlaps
//   index   = count u32  file*                                    sorted by name, each name once
//   file    = name text  size u64  entry[ceil(size / 256 KiB)]    text = length u32, bytes
//   entry   = kind u8                                             0: all zero, nothing else follows
//             offset u64  stored u32  digest[32]                  1: raw, 2: one zstd frame; SHA-256 of the
//             raw bytes frame check u64                                     2 only: first 8 bytes of the
//             frame's SHA-256
//   info    = JSON object, store/info_json.h
//   trailer = index offset u64  index size u64  info size u64  number u64  digest[32]  magic[8] "cprwtail"
//
// The trailer's digest is SHA-256 over index, info and the trailer's four integers. With the digests of the
// blocks it leaves no byte that could change unseen: header and magics have one possible value, and blocks
// and index must fill the file exactly.
//
// The snapshot's id is SHA-256 over what the snapshot *is*: names, sizes, the digest of each block, and info.
// Not over where blocks lie or how they are packed, so the same content and info have the same id whatever
// the order of the workers, the compressor or its level; and not over `number`, which is given out only when
// the id is known.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "store/block.h"
#include "store/record.h"

namespace cprewind::store {

// History; never renumber.
//   1  the layout above
//   2  the same header, info and trailer; groups of pages for blocks, and another index (store/page_index.h)
inline constexpr uint32_t k_pack_version = 1;
inline constexpr uint32_t k_paged_version = 2;

inline constexpr size_t k_header_size = 16;
inline constexpr size_t k_trailer_size = 4 * 8 + 32 + 8;

// 1 TiB of raw bytes a snapshot. Bounds what a hostile index can make us allocate: 200 MiB.
inline constexpr uint64_t k_max_blocks = uint64_t{1} << 22;
inline constexpr uint64_t k_max_info_size = 1 << 20;
inline constexpr uint64_t k_max_index_size = uint64_t{256} << 20;

// The rows for the catalog travel in the pack as a file of this name. It is listed like any other, so that
// whoever reads all files has checked all bytes; nobody else may write one.
inline constexpr std::string_view k_rows_file = ".catalog-rows";

struct FileEntry {
    std::string name;
    uint64_t size = 0;
    std::vector<BlockEntry> blocks;

    // Size of the raw bytes of block `i`; only the last one is shorter.
    size_t block_size(size_t i) const;
};

struct PackTail {
    std::vector<FileEntry> files;
    std::string info;  // as stored
    uint64_t number = 0;
};

inline uint64_t blocks_of(uint64_t size) {
    return size / k_block_size + (size % k_block_size != 0 ? 1 : 0);
}

// A name that is safe to make a path from: relative, no empty, "." or ".." component, no NUL.
bool is_file_name(std::string_view name);

std::string make_header(uint32_t version = k_pack_version);
// Index, info and trailer as they follow the blocks, which end at `blocks_end`. `files` are sorted.
std::string make_tail(const PackTail& tail, uint64_t blocks_end);

// The same for an index of any version.
std::string seal_tail(std::string index, std::string_view info, uint64_t number, uint64_t blocks_end);

SnapshotId id_of(const std::vector<FileEntry>& files, std::string_view info);

[[noreturn]] void throw_damaged(std::string_view name, std::string_view what);

// Bytes → value. Errors: damaged, unsupported (newer version), with `name` in the message. Returns the version.
uint32_t check_header(std::span<const std::byte> header, std::string_view name);

struct Trailer {
    uint64_t index_offset = 0;
    uint64_t index_size = 0;
    uint64_t info_size = 0;
    uint64_t number = 0;
    base::Digest digest;
};
// Sizes are consistent with a pack of `pack_size` bytes.
Trailer parse_trailer(std::span<const std::byte> trailer, uint64_t pack_size, std::string_view name);
// Index and info, which `hasher` was given, have the digest that the trailer says.
void check_tail(base::Hasher& hasher, const Trailer& trailer, std::string_view name);
// `bytes` are index and info. The blocks fill the file from the header to the index exactly.
PackTail parse_tail(std::span<const std::byte> bytes, const Trailer& trailer, std::string_view name);

}  // namespace cprewind::store

// One block of a stored file: up to 256 KiB, stored as nothing (all zero), as it is, or as one zstd frame.
//
// 256 KiB because zstd's ratio stops growing there for memory (a tenth better than 4 KiB, no worse than 1
// MiB) while one block is still cheap to decode for a small read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "base/buffer.h"
#include "base/digest.h"

struct ZSTD_CCtx_s;
struct ZSTD_DCtx_s;

namespace cprewind::store {

inline constexpr size_t k_block_size = 256 * 1024;

enum class BlockKind : uint8_t {
    zero = 0,  // stored in packs: never renumber
    raw = 1,
    zstd = 2,
};

// Where a block lies in its pack and what it must be. A zero block has no bytes and no digest.
struct BlockEntry {
    uint64_t offset = 0;
    uint32_t stored = 0;
    BlockKind kind = BlockKind::zero;
    // Of a zstd frame: the first 8 bytes of its SHA-256. Some bits of a frame can change without changing
    // what it decodes to; reading does not care, but `verify` promises to find any flipped bit.
    uint64_t frame_check = 0;
    base::Digest digest;  // SHA-256 of the raw bytes: what is relied on
};

uint64_t frame_check_of(std::span<const std::byte> frame);

bool is_zero(std::span<const std::byte> data);

// `data` becomes data ^ other, byte by byte; both have the same size.
void exclusive_or(std::span<std::byte> data, std::span<const std::byte> other);

// Makes stored blocks; one per thread.
class BlockEncoder {
 public:
    BlockEncoder();

    // Encodes `raw` and fills in kind, stored size and digest. The result lives until the next call. What was
    // compressed is decoded again and compared before it counts: a fault of the compressor or of memory must
    // not be found out on the day of the rewind.
    std::span<const std::byte> encode(std::span<const std::byte> raw, BlockEntry& entry);

 private:
    struct Free {
        void operator()(ZSTD_CCtx_s* context) const noexcept;
        void operator()(ZSTD_DCtx_s* context) const noexcept;
    };
    void expect_dense(bool dense);

    std::unique_ptr<ZSTD_CCtx_s, Free> compressor_;
    std::unique_ptr<ZSTD_DCtx_s, Free> decompressor_;
    bool dense_ = false;  // how the compressor is set
    base::Buffer stored_;
    base::Buffer again_;
};

// Reads stored blocks; one per thread.
class BlockDecoder {
 public:
    BlockDecoder();

    // Fills `raw` (whose size is the block's) from its stored bytes. False when they are not what was stored.
    bool decode(const BlockEntry& entry, std::span<const std::byte> stored, std::span<std::byte> raw);
    // The same without looking at the digest: what comes out is anybody's guess until the caller has checked it.
    bool unpack(const BlockEntry& entry, std::span<const std::byte> stored, std::span<std::byte> raw);

 private:
    struct Free {
        void operator()(ZSTD_DCtx_s* context) const noexcept;
    };
    std::unique_ptr<ZSTD_DCtx_s, Free> context_;
};

}  // namespace cprewind::store

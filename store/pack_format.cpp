#include "store/pack_format.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/bytes.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/text.h"

namespace cprewind::store {
namespace {

using base::append_integer;
using base::append_text;
using base::Cursor;
using base::Error;
using base::ErrorKind;

constexpr std::string_view k_header_magic = "cprwpack";
constexpr std::string_view k_trailer_magic = "cprwtail";

void append_digest(std::string& out, const base::Digest& digest) {
    out += base::as_text(digest.bytes);
}

base::Digest digest_from(std::span<const std::byte> bytes) {
    base::Digest digest;
    std::copy(bytes.begin(), bytes.end(), digest.bytes.begin());
    return digest;
}

std::string trailer_integers(const Trailer& trailer) {
    std::string out;
    for (uint64_t value : {trailer.index_offset, trailer.index_size, trailer.info_size, trailer.number}) {
        append_integer(out, value);
    }
    return out;
}

// `hasher` was given index and info.
base::Digest tail_digest(base::Hasher& hasher, const Trailer& trailer) {
    std::string integers = trailer_integers(trailer);
    hasher.update(base::as_bytes(integers));
    return hasher.finish();
}

BlockEntry read_entry(Cursor& cursor, size_t raw_size, std::string_view name) {
    auto kind = cursor.integer<uint8_t>();
    if (!kind || *kind > 2)
        throw_damaged(name, fmt::format("no block kind at byte {} of the index", cursor.offset()));
    BlockEntry entry;
    entry.kind = static_cast<BlockKind>(*kind);
    if (entry.kind == BlockKind::zero) return entry;
    auto offset = cursor.integer<uint64_t>();
    auto stored = cursor.integer<uint32_t>();
    auto digest = cursor.bytes(32);
    auto check = entry.kind == BlockKind::zstd ? cursor.integer<uint64_t>() : std::optional<uint64_t>(0);
    if (!digest || !check) throw_damaged(name, "the index ends within a block's entry");
    entry.frame_check = *check;
    entry.offset = *offset;
    entry.stored = *stored;
    entry.digest = digest_from(*digest);
    bool plausible =
        entry.kind == BlockKind::raw ? entry.stored == raw_size : entry.stored > 0 && entry.stored < raw_size;
    if (!plausible)
        throw_damaged(name,
                      fmt::format("a block of {} bytes claims {} stored bytes", raw_size, entry.stored));
    return entry;
}

// Every byte between header and index belongs to exactly one block: nothing can hide there, and no hostile
// index can let two blocks share bytes or point outside.
void check_coverage(const std::vector<FileEntry>& files, uint64_t blocks_end, std::string_view name) {
    std::vector<std::pair<uint64_t, uint32_t>> extents;
    for (const FileEntry& file : files) {
        for (const BlockEntry& block : file.blocks) {
            if (block.kind != BlockKind::zero) extents.emplace_back(block.offset, block.stored);
        }
    }
    std::sort(extents.begin(), extents.end());
    uint64_t expected = k_header_size;
    for (auto [offset, stored] : extents) {
        if (offset != expected) {
            throw_damaged(
                name, fmt::format("a block begins at byte {} where byte {} was expected", offset, expected));
        }
        expected += stored;
    }
    if (expected != blocks_end) {
        throw_damaged(name,
                      fmt::format("blocks end at byte {}, the index begins at {}", expected, blocks_end));
    }
}

}  // namespace

size_t FileEntry::block_size(size_t i) const {
    return static_cast<size_t>(std::min<uint64_t>(k_block_size, size - uint64_t{i} * k_block_size));
}

bool is_file_name(std::string_view name) {
    if (name.empty() || name.size() > 4096 || name.find('\0') != std::string_view::npos) return false;
    auto parts = base::split(name, '/');
    return std::none_of(parts.begin(), parts.end(),
                        [](const std::string& part) { return part.empty() || part == "." || part == ".."; });
}

void throw_damaged(std::string_view name, std::string_view what) {
    throw Error(ErrorKind::damaged, fmt::format("{} is damaged: {}", name, what),
                "run `cprewind verify` to see what else is; this snapshot cannot be trusted");
}

std::string make_header(uint32_t version) {
    std::string out(k_header_magic);
    append_integer(out, version);
    append_integer(out, uint32_t{0});
    return out;
}

std::string make_tail(const PackTail& tail, uint64_t blocks_end) {
    std::string out;
    append_integer(out, static_cast<uint32_t>(tail.files.size()));
    for (const FileEntry& file : tail.files) {
        append_text(out, file.name);
        append_integer(out, file.size);
        for (const BlockEntry& block : file.blocks) {
            append_integer(out, static_cast<uint8_t>(block.kind));
            if (block.kind == BlockKind::zero) continue;
            append_integer(out, block.offset);
            append_integer(out, block.stored);
            append_digest(out, block.digest);
            if (block.kind == BlockKind::zstd) append_integer(out, block.frame_check);
        }
    }
    return seal_tail(std::move(out), tail.info, tail.number, blocks_end);
}

std::string seal_tail(std::string out, std::string_view info, uint64_t number, uint64_t blocks_end) {
    Trailer trailer{blocks_end, out.size(), info.size(), number, {}};
    out += info;
    base::Hasher hasher;
    hasher.update(base::as_bytes(out));
    base::Digest digest = tail_digest(hasher, trailer);
    out += trailer_integers(trailer);
    append_digest(out, digest);
    out += k_trailer_magic;
    return out;
}

SnapshotId id_of(const std::vector<FileEntry>& files, std::string_view info) {
    std::string text = "cprewind snapshot 1\n";
    append_integer(text, static_cast<uint32_t>(files.size()));
    for (const FileEntry& file : files) {
        append_text(text, file.name);
        append_integer(text, file.size);
        for (const BlockEntry& block : file.blocks) {
            append_integer(text, static_cast<uint8_t>(block.kind == BlockKind::zero ? 0 : 1));
            if (block.kind != BlockKind::zero) append_digest(text, block.digest);
        }
    }
    append_text(text, info);
    return base::digest_of(base::as_bytes(text)).hex();
}

uint32_t check_header(std::span<const std::byte> header, std::string_view name) {
    Cursor cursor(header);
    auto magic = cursor.bytes(k_header_magic.size());
    auto version = cursor.integer<uint32_t>();
    auto reserved = cursor.integer<uint32_t>();
    if (!reserved || base::as_text(*magic) != k_header_magic)
        throw_damaged(name, "it does not begin as a pack does");
    if (*version > k_paged_version) {
        throw Error(ErrorKind::unsupported,
                    fmt::format("{} has pack version {}; this cprewind understands versions up to {}", name,
                                *version, k_paged_version),
                    "use the cprewind that wrote it, or a newer one");
    }
    if (*version == 0 || *reserved != 0) throw_damaged(name, "its header holds impossible values");
    return *version;
}

Trailer parse_trailer(std::span<const std::byte> bytes, uint64_t pack_size, std::string_view name) {
    Cursor cursor(bytes);
    Trailer trailer;
    for (uint64_t* field :
         {&trailer.index_offset, &trailer.index_size, &trailer.info_size, &trailer.number}) {
        auto value = cursor.integer<uint64_t>();
        if (!value) throw_damaged(name, "it is too short for a pack");
        *field = *value;
    }
    auto digest = cursor.bytes(32);
    auto magic = digest ? cursor.bytes(k_trailer_magic.size()) : std::nullopt;
    if (!magic || base::as_text(*magic) != k_trailer_magic) {
        throw_damaged(name, "it does not end as a pack does (was it cut short?)");
    }
    trailer.digest = digest_from(*digest);
    // Each is compared with what is left before it is added, so that no sum can wrap.
    uint64_t left = pack_size - k_trailer_size;
    bool fits = trailer.info_size <= k_max_info_size && trailer.index_size <= k_max_index_size &&
                trailer.index_offset >= k_header_size && trailer.index_offset <= left &&
                trailer.index_size <= left - trailer.index_offset &&
                trailer.info_size == left - trailer.index_offset - trailer.index_size;
    if (!fits) throw_damaged(name, "the sizes in its trailer do not add up to its size");
    return trailer;
}

void check_tail(base::Hasher& hasher, const Trailer& trailer, std::string_view name) {
    if (tail_digest(hasher, trailer) != trailer.digest)
        throw_damaged(name, "its index does not have the digest it was stored with");
}

PackTail parse_tail(std::span<const std::byte> bytes, const Trailer& trailer, std::string_view name) {
    CPREWIND_CHECK(bytes.size() == trailer.index_size + trailer.info_size);
    base::Hasher hasher;
    hasher.update(bytes);
    check_tail(hasher, trailer, name);
    PackTail tail;
    tail.number = trailer.number;
    tail.info = base::as_text(bytes.subspan(static_cast<size_t>(trailer.index_size)));
    Cursor cursor(bytes.first(static_cast<size_t>(trailer.index_size)));
    auto count = cursor.integer<uint32_t>();
    if (!count) throw_damaged(name, "its index is empty");
    uint64_t blocks_left = k_max_blocks;
    for (uint32_t i = 0; i < *count; ++i) {
        FileEntry file;
        auto file_name = cursor.text();
        auto size = file_name ? cursor.integer<uint64_t>() : std::nullopt;
        if (!size) throw_damaged(name, "its index ends within a file's entry");
        if (!is_file_name(*file_name) || (!tail.files.empty() && *file_name <= tail.files.back().name)) {
            throw_damaged(name,
                          fmt::format("its index holds the file name '{}', which is unsafe or out of order",
                                      base::escape(*file_name)));
        }
        file.name = std::move(*file_name);
        file.size = *size;
        uint64_t blocks = blocks_of(file.size);
        // An entry takes at least a byte, so what is left bounds the allocation as well.
        if (blocks > blocks_left || blocks > cursor.left()) {
            throw_damaged(name, fmt::format("'{}' claims {} bytes, more than its index has room for",
                                            base::escape(file.name), file.size));
        }
        blocks_left -= blocks;
        file.blocks.reserve(static_cast<size_t>(blocks));
        for (size_t b = 0; b < blocks; ++b)
            file.blocks.push_back(read_entry(cursor, file.block_size(b), name));
        tail.files.push_back(std::move(file));
    }
    if (!cursor.at_end()) throw_damaged(name, fmt::format("{} unused bytes in its index", cursor.left()));
    check_coverage(tail.files, trailer.index_offset, name);
    return tail;
}

}  // namespace cprewind::store

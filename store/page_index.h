// The index of a pack of version 2: files as sequences of pages, pages by reference.
//
//   index  = raw size u64  frame size u64  zstd frame of the parts  hint u64 *      one hint for each full slot
//   parts  = packs  spaces  groups  files                           integers are little-endian, varints LEB128
//   packs  = count u32  id[32]*                   other packs that pages of this one, or their bases, lie in
//   spaces = count u32  text*                     names of address spaces (text = length u32, bytes)
//   groups = count u32  group*                    in order of their slots, which are numbered through from 0
//   group  = kind u8  pages u8  offset u64  stored u32  digest[32]  check u64     kind: 1 raw, 2 zstd; + 0x80: delta
//            delta only: base* (pack varint, slot varint), one for each page
//   files  = count u32  file*                     sorted by name, each name once
//   file   = name text  size u64  runs  addresses
//   runs   = count varint  (pages varint  pack varint  slot varint)*              pack 0: zero pages, no slot
//   addresses = count varint  (space varint  address varint  page varint  pages varint)*
//
// A pack's slots hold pages of 4096 bytes, up to 64 in a group; a group is stored like a block of version 1
// (store/block.h). A slot of a delta group holds the exclusive or of a page and its base, which is a slot of a group
// that is no delta: so no page is further than one step away. A file's page is a zero page, a slot of this pack (pack 1)
// or one of another (pack 2 is packs[0], …). The last page of a file is filled up with zeros.
//
// Hints are what a later writer finds equal pages by. They prove nothing (XXH3, which a container can collide at
// will): pages are the same when their bytes have been compared.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "store/block.h"
#include "store/record.h"

namespace cprewind::store {

inline constexpr size_t k_page_size = 4096;
inline constexpr size_t k_group_pages = k_block_size / k_page_size;

struct PageRef {
    uint32_t pack = 0;  // 0: a zero page
    uint32_t slot = 0;

    bool is_zero() const { return pack == 0; }
    auto operator<=>(const PageRef&) const = default;
};
inline constexpr uint32_t k_own_pack = 1;

// `pages` pages in consecutive slots from `first`, or as many zero pages.
struct PageRun {
    uint64_t pages = 0;
    PageRef first;
};

struct PageGroup {
    BlockEntry block;
    uint32_t first_slot = 0;
    uint32_t pages = 0;
    std::vector<PageRef> bases;  // delta: one for each page; else empty

    bool is_delta() const { return !bases.empty(); }
    size_t bytes() const { return pages * k_page_size; }
};

// Pages [page, page + pages) of a file were at `address` of an address space.
struct AddressRun {
    uint32_t space = 0;  // in PageIndex::spaces
    uint64_t address = 0;
    uint64_t page = 0;
    uint64_t pages = 0;
};

struct PagedFile {
    std::string name;
    uint64_t size = 0;
    std::vector<PageRun> runs;
    std::vector<AddressRun> addresses;

    uint64_t pages() const { return size / k_page_size + (size % k_page_size != 0 ? 1 : 0); }
};

struct PageIndex {
    std::vector<SnapshotId> packs;
    std::vector<std::string> spaces;
    std::vector<PageGroup> groups;
    std::vector<PagedFile> files;
    std::vector<uint64_t> hints;  // as written; whoever reads a pack asks it for them (PagePack::hints)

    uint32_t slots() const { return groups.empty() ? 0 : groups.back().first_slot + groups.back().pages; }
    // Those that have a hint.
    uint64_t full_slots() const;
    // The group that holds a slot, which must exist.
    size_t group_of(uint32_t slot) const;
    const PagedFile* find(std::string_view name) const;
};

// Never 0.
uint64_t hint_of(std::span<const std::byte> page);

std::string encode_page_index(const PageIndex& index);

inline constexpr size_t k_parts_head = 16;
// How many bytes of an index come before the hints, by its first k_parts_head bytes. Error: damaged.
uint64_t parts_end(std::span<const std::byte> head, uint64_t index_size, std::string_view name);

// `bytes` end where the hints begin. Errors: damaged. Everything in the answer is consistent with itself, with the size of
// the hints, and with groups that fill the pack from the header to `groups_end`; references to other packs are not looked
// up here.
PageIndex parse_page_index(std::span<const std::byte> bytes, uint64_t index_size, uint64_t groups_end,
                           std::string_view name);

// Over what the snapshot is: names, sizes, pages, and where pages come from; not over where groups lie in the file.
SnapshotId id_of(const PageIndex& index, std::string_view info);

}  // namespace cprewind::store

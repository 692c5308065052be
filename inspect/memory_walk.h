// What of a process's memory can be read, in address order: for those who look at all of it.
//
// Its mappings and where their pages lie become extents: stretches of addresses in which every byte is known, across
// pages, runs and mappings, so that whatever lies across a border is found. Pages that only zeros fill are known, but
// not worth looking at: gigabytes are reserved and never touched. So is shared memory that an earlier process has shown
// already. Of both an extent has as much as may be needed to complete what begins or ends in its own pieces.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "images/pages.h"
#include "inspect/moment.h"

namespace cprewind::inspect {

// Which memory; what is empty lets everything through.
struct MemoryFilter {
    std::vector<images::DumpPid> pids;
    std::vector<images::MappingKind> kinds;
    // As "rw-p", where '?' is either; or letters that must be there ("wx").
    std::string protection;
    std::vector<images::AddressRange> ranges;  // sorted, not overlapping
    // The mapping with this address, kind or (part of a) path.
    std::string mapping;

    bool selects(images::DumpPid pid) const;
    // Null: memory that no mapping covers.
    bool selects(const images::Mapping* mapping) const;
};

// Sorted and joined, so that nothing is looked at twice.
std::vector<images::AddressRange> sorted_ranges(std::vector<images::AddressRange> ranges);

struct MemoryPiece {
    uint64_t address = 0;
    uint64_t bytes = 0;
    images::PageState state = images::PageState::present;  // or zero
    const images::Mapping* mapping = nullptr;              // null: none covers it
    bool own = true;                                       // false: only there for what crosses its border
    bool shared = false;                                   // of the object mapping->shmid
    uint64_t object_offset = 0;                            // shared: where in it

    uint64_t end() const { return address + bytes; }
};

struct MemoryExtent {
    std::vector<MemoryPiece> pieces;  // one behind the other, without gaps

    uint64_t start() const { return pieces.front().address; }
    uint64_t end() const { return pieces.back().end(); }
    // The piece with that address, which is within.
    const MemoryPiece& at(uint64_t address) const;
    // Whether a byte of [address, address + bytes) is its own.
    bool has_own(uint64_t address, uint64_t bytes) const;
};

// What was chosen and is not in the dump.
struct UnreadMemory {
    images::DumpPid pid;
    const images::Mapping* mapping = nullptr;
    uint64_t address = 0;  // of the first such page of the mapping
    uint64_t bytes = 0;
    images::PageState state = images::PageState::missing;
};

// Parts of shared objects that were given to somebody, by object: begin -> end.
using SeenObjects = std::map<uint64_t, std::map<uint64_t, uint64_t>>;

struct WalkedMemory {
    std::vector<MemoryExtent> extents;
    std::vector<UnreadMemory> unread;
    uint64_t own_bytes = 0;   // to be looked at
    uint64_t zero_bytes = 0;  // known to be zero, and not looked at
};

// `reach` is the most that may be needed of what is only there for its border. `process` and `memory` must outlive what
// comes back.
WalkedMemory walk_memory(const images::Process& process, const images::AddressSpace& memory,
                         const MemoryFilter& filter, SeenObjects& seen, uint64_t reach);

// Bytes of an extent from `address` on, which it has.
void read_extent(const images::AddressSpace& memory, uint64_t address, std::span<std::byte> out);

}  // namespace cprewind::inspect

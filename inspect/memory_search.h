// Where patterns occur in the memory of all processes.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "inspect/memory_patterns.h"
#include "inspect/memory_scan.h"

namespace cprewind::inspect {

struct SearchOptions {
    ScanOptions scan;
    size_t context = 16;      // bytes shown before and after
    bool count_only = false;  // hits come without bytes
};

// Where else the same byte of shared memory is mapped.
struct MemoryPlace {
    images::DumpPid pid;
    uint64_t address = 0;
};

struct SearchHit {
    uint32_t pattern = 0;  // of PatternSet::patterns()
    const images::Process* process = nullptr;
    const images::Mapping* mapping = nullptr;  // null: none covers it
    uint64_t address = 0;
    uint64_t bytes = 0;
    bool cut = false;  // it goes on
    std::string match;
    std::string before;
    std::string after;
    std::vector<MemoryPlace> also;  // shared memory: the other places, by process
};

// Calls `found` for every hit by process and address, in shared memory once; matches of one pattern do not overlap, the
// first counts. A match has at least one byte that is dumped: what is zero because nobody ever wrote there is not
// searched. `found` returns false when it wants no more. It may be called on any thread, one call at a time.
ScanSummary search_memory(Moment moment, const PatternSet& patterns, const SearchOptions& options,
                          const std::function<bool(const SearchHit&)>& found, images::Findings& findings);

// Mappings of shared objects, by object.
using ObjectMappings = std::map<uint64_t, std::vector<std::pair<images::DumpPid, const images::Mapping*>>>;
ObjectMappings map_objects(const images::Checkpoint& checkpoint);
// Where the byte at `address` of a piece is, beside there.
std::vector<MemoryPlace> places_beside(const ObjectMappings& objects, images::DumpPid pid,
                                       const MemoryPiece& piece, uint64_t address);

}  // namespace cprewind::inspect

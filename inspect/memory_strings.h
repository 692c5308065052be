// Text in the memory of all processes, whole across the borders of pages and mappings.
#pragma once

#include <functional>
#include <string_view>
#include <vector>

#include "inspect/memory_scan.h"
#include "inspect/memory_search.h"
#include "inspect/text_runs.h"

namespace cprewind::inspect {

struct StringsOptions {
    ScanOptions scan;
    std::vector<TextEncoding> encodings{TextEncoding::utf8};
    size_t least = 4;  // characters
};

struct StringHit {
    const images::Process* process = nullptr;
    const images::Mapping* mapping = nullptr;  // null: none covers it
    const MemoryPiece* piece = nullptr;        // it begins in
    uint64_t address = 0;
    uint64_t bytes = 0;  // in memory
    TextEncoding encoding = TextEncoding::ascii;
    std::string_view text;  // UTF-8; valid during the call
};

// A string is given in pieces of this size when it is longer.
inline constexpr size_t k_string_piece = 1u << 20;

// Calls `found` for every string by process and address (of different encodings, nearly so), in shared memory once.
// `found` returns false when it wants no more; it may be called on any thread, one call at a time.
ScanSummary find_strings(Moment moment, const StringsOptions& options,
                         const std::function<bool(const StringHit&)>& found, images::Findings& findings);

}  // namespace cprewind::inspect

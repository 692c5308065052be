// Strings that came into memory or went out of it: those found in the pages that differ, on one side only.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "inspect/diff.h"

namespace cprewind::inspect {

struct StringChange {
    std::string text;
    uint64_t address = 0;  // of its first occurrence on its side
    bool appeared = false;
};

// Strings of one process, or of one object of shared memory.
struct OwnerStrings {
    images::DumpPid pid;
    std::optional<uint64_t> object;
    std::vector<StringChange> changes;  // by address, those that disappeared first
    bool complete = true;               // false: there were more than memory was granted for
};

// Gets the pages that differ, in order, and keeps what is printable ASCII of at least `least` characters. A string is
// followed from page to page as long as neighbours differ, too; where it goes on in a page that is the same on both
// sides, only its part in the differing page is seen.
class StringDiff {
 public:
    explicit StringDiff(size_t least) : least_(least) {}

    void add(const PagePair& page);
    std::vector<OwnerStrings> finish();

 private:
    // Text of one side on its way across pages.
    struct Side {
        std::string pending;
        uint64_t start = 0;
        uint64_t next = 0;  // address at which the following page has to begin
        std::unordered_map<std::string, uint64_t> found;
    };
    void scan(Side& side, uint64_t address, std::span<const std::byte> bytes);
    void keep(Side& side);
    void close_owner();

    size_t least_;
    Side before_, after_;
    OwnerStrings owner_;
    bool open_ = false;
    uint64_t kept_bytes_ = 0;
    std::vector<OwnerStrings> done_;
};

}  // namespace cprewind::inspect

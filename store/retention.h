// Which snapshots stay when somebody asks for fewer: a pure function of what there is.
//
// A snapshot stays when any of the keep rules names it; with no keep rule all stay. Then, while more than max_size is
// stored, the oldest goes, but never one with a tag, nor the newest of a container. Safety snapshots, which nobody asked
// for, have one rule of their own: the last three of each container stay, and those with a tag; no other keep rule names
// them, and they count for none.
//
// No rule looks at the clock: the last five days are the last five days on which there is a snapshot, in local time. So a
// wrong clock cannot empty a repository.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "store/record.h"
#include "store/sizes.h"

namespace cprewind::store {

inline constexpr uint64_t k_safety_kept = 3;

struct PrunePolicy {
    uint64_t keep_last = 0;  // the newest so many of each container
    uint64_t keep_hourly =
        0;  // the newest of each of the last so many hours that have one, of each container
    uint64_t keep_daily = 0;
    std::vector<std::string> keep_tags = {};  // those with one of these tags; "*" is any
    std::optional<uint64_t> max_size = {};    // bytes of all snapshots of the repository together

    bool has_keep_rule() const { return keep_last + keep_hourly + keep_daily > 0 || !keep_tags.empty(); }
    bool is_empty() const { return !has_keep_rule() && !max_size; }
};

struct Verdict {
    SnapshotRecord record;
    bool stays = false;
    std::string why;           // "one of the last 5", "no rule keeps it"
    uint64_t freed_bytes = 0;  // of one that goes: what its going gives back, after those above it have gone
};

// `records`: those that may go, oldest first, and in this order are the verdicts. `sizes` knows all of the repository.
std::vector<Verdict> judge(const std::vector<SnapshotRecord>& records, const PrunePolicy& policy,
                           StoredSizes sizes);

}  // namespace cprewind::store

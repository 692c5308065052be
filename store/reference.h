// Naming a snapshot: what people may write, and which snapshot they then mean.
//
//   reference = word [place] | word place? "~" N
//   place     = "@" N | "@latest" | "@{" time "}"
//
//   web@3  web@latest  web (the same)  web~2 (two before the latest)  web@3~1
//   web@{10m ago}  web@{2026-11-24 19:42}
//
// web may be the container's name, or the first 4 or more digits of its id. A word alone may also be a tag
// (last-good) or an id or its first 4 or more digits (3f9a), either with ~N.
//
// "Before" goes by number within the container, not by parent: what people count is what `log` shows. A whole
// name or tag beats a prefix; two whole names for different snapshots are ambiguous.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/text.h"
#include "store/record.h"

namespace cprewind::store {

struct Reference {
    enum class Place { none, number, latest, time };

    std::string word;
    Place place = Place::none;
    uint64_t number = 0;    // Place::number
    base::WallTime time{};  // Place::time: the last snapshot not later than this
    uint64_t back = 0;      // ~N

    bool operator==(const Reference&) const = default;
};

// Prefixes of ids shorter than this mean nothing.
inline constexpr size_t k_shortest_prefix = 4;

// Error (usage) that says what cannot be read and how it is written.
Reference parse_reference(std::string_view text, base::WallTime now);

// May become a tag: cannot be confused with another reference, an id or a path.
bool is_tag(std::string_view text);
// Error (usage) when it may not.
void check_tag(std::string_view text);

// The snapshot among `all` that `reference` means. Errors: not_found with near names, ambiguous with the
// candidates.
SnapshotRecord find_reference(const Reference& reference, const std::vector<SnapshotRecord>& all);

// Those of the container called `word`, or whose id begins with it (4 digits at least): by number. Error:
// ambiguous.
std::vector<SnapshotRecord> of_container(std::string_view word, const std::vector<SnapshotRecord>& all);

}  // namespace cprewind::store

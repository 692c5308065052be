// Which groups of which packs the snapshots need: what may go, what damage hits, what a snapshot would give back.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "store/catalog.h"
#include "store/layout.h"
#include "store/page_pack.h"

namespace cprewind::store {

// Groups by the id of the pack they lie in.
using GroupUse = std::map<SnapshotId, std::set<uint32_t>>;

// All that reading the files of a snapshot decodes, bases included.
GroupUse groups_of(const PackSet& packs);

// Gives back the space of removed snapshots: those that are pending as `removing`, whose rows it drops at the end. A pack
// that others draw from becomes a *.kept, and its other groups become holes; one that nobody needs goes. Kept packs of
// earlier removals are looked at again. While a living snapshot cannot be read, nothing goes. May be broken off anywhere
// and done again. Returns the bytes given back; nothing when a snapshot is just being written: then the next writer
// does it.
std::optional<uint64_t> sweep(const Layout& layout, const Catalog& catalog);

// Taken by whoever writes a snapshot, from before it looks for pages in other packs until its row is committed: sweep()
// waits for it. Released by closing.
base::Fd hold_packs(const Layout& layout);

}  // namespace cprewind::store

// Packs that were opened last, for those who go through many snapshots: each draws from a dozen packs, mostly from those
// that its neighbours draw from, and to open one is to read, parse and check its index.
//
// A pack in here stays locked (PagePack), so none of it can be given back: let go of the cache before sweeping.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <string>

#include "store/layout.h"
#include "store/page_pack.h"

namespace cprewind::store {

class PackCache {
 public:
    explicit PackCache(Layout layout) : layout_(std::move(layout)) {}

    // The pack of a snapshot with all that it refers to; `name` is what messages call the snapshot. Errors: not_found when
    // its own pack is not there, damaged (also when another one is missing), unsupported, io; with costs_its_pages only those
    // of its own pack.
    std::shared_ptr<const PackSet> open_set(const SnapshotId& id, const std::string& name,
                                            LostPack lost = LostPack::fails);

 private:
    std::shared_ptr<const PagePack> open(const SnapshotId& id, const std::string& name);

    struct Held {
        std::shared_ptr<const PagePack> pack;
        uint64_t bytes = 0;
    };
    Layout layout_;
    std::list<Held> held_;  // the one used last comes first
    uint64_t bytes_ = 0;
};

}  // namespace cprewind::store

#include "store/pack_cache.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "store/snapshot_source.h"

namespace cprewind::store {
namespace {

// Of indexes, beside those that are in use. Packs of a small process: all that its snapshots draw from; of one of 4 GiB: a
// few, and then each snapshot costs what it would without a cache.
constexpr uint64_t k_most_bytes = 48 << 20;

uint64_t bytes_of(const PageIndex& index) {
    uint64_t bytes = index.slots() * sizeof(uint64_t) +  // hints, should they be asked for
                     index.groups.size() * sizeof(PageGroup);
    for (const PageGroup& group : index.groups) bytes += group.bases.size() * sizeof(PageRef);
    for (const PagedFile& file : index.files) {
        bytes += sizeof(PagedFile) + file.name.size() + file.runs.size() * sizeof(PageRun) +
                 file.addresses.size() * sizeof(AddressRun);
    }
    return bytes;
}

}  // namespace

std::shared_ptr<const PackSet> PackCache::open_set(const SnapshotId& id, const std::string& name,
                                                   LostPack lost) {
    auto open_other = [&](const SnapshotId& other) {
        try {
            return open(other, fmt::format("{}, in a pack of {}", name, other.substr(0, 12)));
        } catch (const base::Error& error) {
            if (error.kind() != base::ErrorKind::not_found) throw;
            throw base::Error(base::ErrorKind::damaged,
                              fmt::format("{} is damaged: pages of it are in the pack {}, which is missing",
                                          name, layout_.pack(other).string()),
                              "put the file back from a copy; `cprewind verify` tells what else needs it");
        }
    };
    return std::make_shared<const PackSet>(open(id, name), open_other, lost);
}

std::shared_ptr<const PagePack> PackCache::open(const SnapshotId& id, const std::string& name) {
    auto found =
        std::find_if(held_.begin(), held_.end(), [&](const Held& held) { return held.pack->id() == id; });
    if (found != held_.end()) {
        held_.splice(held_.begin(), held_, found);
        return held_.front().pack;
    }
    auto open_it = [&] { return std::make_shared<const PagePack>(find_pack(layout_, id), id, name); };
    std::shared_ptr<const PagePack> pack;
    try {
        pack = open_it();
    } catch (const base::Error& error) {
        if (error.kind() != base::ErrorKind::not_found) throw;
        pack = open_it();  // its snapshot may have been removed just now, and the file renamed
    }
    uint64_t bytes = bytes_of(pack->index());
    while (!held_.empty() && bytes_ + bytes > k_most_bytes) {
        bytes_ -= held_.back().bytes;
        held_.pop_back();
    }
    held_.push_front({pack, bytes});
    bytes_ += bytes;
    return pack;
}

}  // namespace cprewind::store

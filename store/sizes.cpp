#include "store/sizes.h"

#include "base/error.h"
#include "store/pack_cache.h"
#include "store/pack_format.h"
#include "store/repository.h"
#include "store/snapshot_source.h"
#include "store/usage.h"

namespace cprewind::store {

StoredSizes::Piece StoredSizes::add_piece(uint64_t bytes) {
    pieces_.push_back({bytes, 0});
    return static_cast<Piece>(pieces_.size() - 1);
}

void StoredSizes::add_snapshot(const SnapshotId& id, std::vector<Piece> pieces) {
    for (Piece piece : pieces) {
        if (pieces_[piece].users++ == 0) total_ += pieces_[piece].bytes;
    }
    snapshots_[id] = std::move(pieces);
}

void StoredSizes::remove_snapshot(const SnapshotId& id) {
    auto it = snapshots_.find(id);
    if (it == snapshots_.end()) return;
    for (Piece piece : it->second) {
        if (--pieces_[piece].users == 0) total_ -= pieces_[piece].bytes;
    }
    snapshots_.erase(it);
}

StoredSize StoredSizes::of(const SnapshotId& id) const {
    StoredSize size;
    auto it = snapshots_.find(id);
    if (it == snapshots_.end()) return size;
    for (Piece piece : it->second) {
        const Stored& stored = pieces_[piece];
        (stored.users == 1 ? size.unique : size.shared) += stored.bytes;
    }
    return size;
}

namespace {

// Groups are shared; what a pack holds besides them is its snapshot's own.
class Measure {
 public:
    explicit Measure(const Layout& layout) : layout_(layout), cache_(layout) {}

    void add(const SnapshotRecord& record) {
        std::vector<StoredSizes::Piece> pieces;
        try {
            if (pack_version(layout_, record.id, record.name()) == k_paged_version)
                pieces = pieces_of(record);
        } catch (const base::Error&) {
            pieces.clear();
        }
        if (pieces.empty()) pieces.push_back(sizes_.add_piece(record.stored_bytes));
        sizes_.add_snapshot(record.id, std::move(pieces));
    }
    StoredSizes take() { return std::move(sizes_); }

 private:
    std::vector<StoredSizes::Piece> pieces_of(const SnapshotRecord& record) {
        auto packs = cache_.open_set(record.id, record.name());
        uint64_t rest = packs->own().size();
        for (const PageGroup& group : packs->own().index().groups) rest -= group.block.stored;
        std::vector<StoredSizes::Piece> pieces = {sizes_.add_piece(rest)};
        std::map<SnapshotId, const PageIndex*> indexes;
        for (uint32_t i = 1; i <= packs->count(); ++i) indexes[packs->at(i).id()] = &packs->at(i).index();
        for (const auto& [pack, groups] : groups_of(*packs)) {
            auto& known = groups_[pack];
            const auto& all = indexes.at(pack)->groups;
            known.resize(all.size(), k_none);
            for (uint32_t group : groups) {
                if (known[group] == k_none) known[group] = sizes_.add_piece(all[group].block.stored);
                pieces.push_back(known[group]);
            }
        }
        return pieces;
    }

    static constexpr StoredSizes::Piece k_none = UINT32_MAX;
    Layout layout_;
    PackCache cache_;
    StoredSizes sizes_;
    std::map<SnapshotId, std::vector<StoredSizes::Piece>> groups_;  // by pack
};

}  // namespace

StoredSizes stored_sizes(const Repository& repository) {
    Measure measure(Layout{repository.path()});
    for (const SnapshotRecord& record : repository.list()) measure.add(record);
    return measure.take();
}

}  // namespace cprewind::store

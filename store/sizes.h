// What the snapshots of a repository take, alone and together: several may use the same stored bytes.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "store/record.h"

namespace cprewind::store {

struct StoredSize {
    uint64_t unique = 0;  // what only this snapshot uses: what its removal gives back
    uint64_t shared = 0;  // what others use as well
};

// A model of it, from which snapshots can be taken on trial.
class StoredSizes {
 public:
    // A piece of the repository: stored bytes that go or stay as one.
    using Piece = uint32_t;

    Piece add_piece(uint64_t bytes);
    // None of `pieces` twice.
    void add_snapshot(const SnapshotId& id, std::vector<Piece> pieces);
    void remove_snapshot(const SnapshotId& id);

    // Zero for a snapshot that is not there.
    StoredSize of(const SnapshotId& id) const;
    // Of all pieces that any snapshot uses.
    uint64_t total() const { return total_; }

 private:
    struct Stored {
        uint64_t bytes = 0;
        uint32_t users = 0;
    };
    std::vector<Stored> pieces_;
    std::map<SnapshotId, std::vector<Piece>> snapshots_;
    uint64_t total_ = 0;
};

class Repository;

// Of all snapshots that can be read; a damaged one counts as its pack alone.
StoredSizes stored_sizes(const Repository& repository);

}  // namespace cprewind::store

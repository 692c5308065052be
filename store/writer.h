// Taking a snapshot into the repository: the implementation of SnapshotWriter.
//
// The commit, and what a crash after each step leaves (store/layout.h says who removes it):
//   1. the blocks are synced                                   a file in tmp/
//   2. transaction 1: number chosen, index and trailer written and synced, row in `pending`
//                                                              the same file, or that and a row
//   3. the pack moves to packs/, both directories are synced   a pack and a row in `pending`
//   4. transaction 2: rows in `snapshots` and its companions, head moved, `pending` row gone
//                                                              the snapshot
#pragma once

#include <memory>
#include <optional>

#include "store/layout.h"
#include "store/repository.h"

namespace cprewind::store {

std::unique_ptr<SnapshotWriter> make_writer(const Layout& layout, const std::optional<SnapshotId>& parent);

}  // namespace cprewind::store

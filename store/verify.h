// Reading and checking every byte of a repository.
#pragma once

#include <vector>

#include "store/catalog.h"
#include "store/layout.h"
#include "store/repository.h"

namespace cprewind::store {

// Checked: the pack byte by byte (every block against its digest, index, info, id, no gaps), and that the
// catalog says of the snapshot what its pack says (row, number, sizes, the rows of what was inside). Not
// covered by any digest and so only checked for structure: tags given later, heads.
VerifyReport verify_snapshot(const Layout& layout, const Catalog& catalog, const SnapshotRecord& record,
                             VerifyMode mode, const Progress& progress);

// All snapshots, SQLite's own check, every name in the directory, permissions, leftovers of dead writers.
VerifyReport verify_all(const Layout& layout, const Catalog& catalog, VerifyMode mode,
                        const Progress& progress);

}  // namespace cprewind::store

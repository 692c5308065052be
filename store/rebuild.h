// Making the catalog again from the packs alone, for when catalog.db is lost or damaged.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace cprewind::store {

struct RebuildReport {
    uint64_t snapshots = 0;
    std::vector<std::string> unreadable;  // packs that were left out, each with the reason
    // Snapshots of which the catalog has no processes, fds, mappings and files, since these lie in a lost pack of another.
    std::vector<std::string> without_rows;
};

// Replaces the catalog of the repository at `path`, which no other process may be using; the old one stays
// beside it as catalog.db.old. What packs do not know is lost: tags given later, and heads (each becomes its
// container's newest).
RebuildReport rebuild_catalog(const std::filesystem::path& path);

}  // namespace cprewind::store

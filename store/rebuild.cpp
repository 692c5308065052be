#include "store/rebuild.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <system_error>

#include "base/error.h"
#include "store/catalog.h"
#include "store/format_file.h"
#include "store/info_json.h"
#include "store/layout.h"
#include "store/snapshot_source.h"
#include "store/sqlite.h"

namespace cprewind::store {
namespace fs = std::filesystem;

RebuildReport rebuild_catalog(const fs::path& path) {
    Layout layout{path};
    check_format(layout);
    RebuildReport report;
    struct Found {
        SnapshotRecord record;
        CatalogRows rows;
    };
    std::vector<Found> found;
    for (const auto& entry : fs::directory_iterator(layout.packs())) {
        SnapshotId id = entry.path().stem().string();
        if (!is_snapshot_id(id) || entry.path().extension() != k_pack_suffix) continue;
        try {
            std::string name = "snapshot " + id.substr(0, 12);
            PackFacts facts = read_facts(layout, id, name);
            Found one;
            one.record.id = id;
            one.record.number = facts.number;
            one.record.info = parse_info_json(facts.info, name);
            one.record.stored_bytes = facts.size;
            one.record.raw_bytes = facts.raw_bytes;
            one.rows = std::move(facts.rows);
            if (!facts.rows_lost.empty()) report.without_rows.push_back(facts.rows_lost);
            found.push_back(std::move(one));
        } catch (const base::Error& error) {
            report.unreadable.push_back(error.message());
        }
    }
    // By time, so that later tags and heads win.
    std::sort(found.begin(), found.end(),
              [](auto& a, auto& b) { return a.record.info.taken_at < b.record.info.taken_at; });

    fs::path fresh = layout.fresh_catalog();
    for (const char* suffix : {"", "-wal", "-shm"}) fs::remove(fresh.string() + suffix);
    base::open_file(fresh, O_WRONLY | O_CREAT | O_EXCL);
    Catalog::make_tables(fresh);
    {
        Catalog catalog(fresh, Database::Mode::write);
        Transaction transaction = catalog.write();
        for (Found& one : found) {
            catalog.add(one.record, one.rows);
            catalog.set_head(one.record.info.container_id, one.record.id);
        }
        transaction.commit();
    }
    // Closing brings the log into the database, and says nothing when it fails.
    Database(fresh, Database::Mode::write).execute("PRAGMA wal_checkpoint(TRUNCATE)");
    // Without its log the old catalog would be of an earlier moment, and nobody could tell: so it goes first. A crash from
    // here on leaves a repository whose catalog is missing, which says to call us again.
    std::error_code none_before;
    fs::rename(layout.catalog(), layout.catalog().string() + ".old", none_before);
    base::sync_directory(layout.root);
    for (const char* suffix : {"-wal", "-shm"}) fs::remove(layout.catalog().string() + suffix);
    // For good, or SQLite would take the old log for the new catalog's.
    base::sync_directory(layout.root);
    fs::rename(fresh, layout.catalog());
    base::sync_directory(layout.root);
    report.snapshots = found.size();
    return report;
}

}  // namespace cprewind::store

// The catalog: the SQLite tables that `log`, look-up and `sql` answer from, and the journal of what is under
// way. The tables are described in docs/store-format.md; those named there are a promise to users of `sql`.
//
// A snapshot has rows in `snapshots` and its companions only while it exists. What is being written or
// removed has a row in `pending` instead, so that nobody who asks SQL needs to know about half-made things.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "store/record.h"
#include "store/sqlite.h"

namespace cprewind::store {

// History of the schema (PRAGMA user_version); never renumber.
//   1  the tables of docs/store-format.md
inline constexpr int64_t k_schema_version = 1;

enum class PendingState {
    writing = 0,  // stored as numbers: never renumber
    removing = 1,
};

struct Pending {
    SnapshotId id;
    PendingState state = PendingState::writing;
    std::string temporary_name;  // its file in tmp/, while it has not been moved
};

class Catalog {
 public:
    // The file exists. Errors: unsupported (newer schema), damaged, and those of Database.
    Catalog(const std::filesystem::path& path, Database::Mode mode);

    // Makes the tables when there are none; the catalog was opened for writing.
    static void make_tables(const std::filesystem::path& path);

    Transaction read() const { return Transaction(database_, Transaction::Kind::read); }
    Transaction write() const { return Transaction(database_, Transaction::Kind::write); }

    // By time, then number; tags included.
    std::vector<SnapshotRecord> list() const;
    std::optional<SnapshotRecord> find(const SnapshotId& id) const;
    // Of the container of just this name; like find() at a price that does not grow with the catalog.
    std::optional<SnapshotRecord> find(std::string_view container, uint64_t number) const;
    std::optional<SnapshotRecord> find_latest(std::string_view container) const;
    CatalogRows rows_of(const SnapshotId& id) const;
    std::optional<SnapshotId> head(std::string_view container_id) const;
    std::vector<Pending> pending() const;
    std::optional<Pending> find_pending(const SnapshotId& id) const;
    // What SQLite itself finds wrong; empty when nothing.
    std::vector<std::string> faults() const;

    // Within a write transaction:
    uint64_t next_number(std::string_view container_name) const;
    void add_pending(const Pending& pending, std::string_view container_name, uint64_t number) const;
    void set_removing(const SnapshotId& id) const;
    void drop_pending(const SnapshotId& id) const;
    // The tags of record.info move here from whatever had them.
    void add(const SnapshotRecord& record, const CatalogRows& rows) const;
    // Heads that point to it go to its parent, if that exists.
    void remove(const SnapshotRecord& record) const;
    void set_head(std::string_view container_id, const SnapshotId& id) const;
    // False when there is no such snapshot.
    bool set_tag(const SnapshotId& id, std::string_view tag) const;

 private:
    std::optional<SnapshotRecord> first_of(Statement& row) const;
    void add_rows(int64_t snapshot, const CatalogRows& rows) const;

    Database database_;
    std::string path_;
};

}  // namespace cprewind::store

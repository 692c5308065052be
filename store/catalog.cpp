#include "store/catalog.h"

#include <fmt/format.h>

#include <map>

#include "base/error.h"
#include "store/layout.h"

namespace cprewind::store {
namespace {

using base::Error;
using base::ErrorKind;

constexpr const char* k_schema = R"sql(
CREATE TABLE snapshots(
    snapshot INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    container TEXT NOT NULL,
    number INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    container_id TEXT NOT NULL,
    container_image TEXT NOT NULL,
    parent TEXT,
    taken_at TEXT NOT NULL,
    taken_at_ns INTEGER NOT NULL,
    stall_ns INTEGER NOT NULL,
    wall_ns INTEGER NOT NULL,
    message TEXT NOT NULL,
    process_count INTEGER NOT NULL,
    memory_bytes INTEGER NOT NULL,
    layer_bytes INTEGER NOT NULL,
    engine TEXT NOT NULL,
    criu TEXT NOT NULL,
    architecture TEXT NOT NULL,
    raw_bytes INTEGER NOT NULL,
    stored_bytes INTEGER NOT NULL,
    UNIQUE(container, number)) STRICT;
CREATE TABLE tags(
    tag TEXT PRIMARY KEY,
    snapshot INTEGER NOT NULL REFERENCES snapshots ON DELETE CASCADE) STRICT;
CREATE TABLE heads(
    container_id TEXT PRIMARY KEY,
    id TEXT NOT NULL) STRICT;
CREATE TABLE processes(
    snapshot INTEGER NOT NULL REFERENCES snapshots ON DELETE CASCADE,
    pid INTEGER NOT NULL,
    parent_pid INTEGER NOT NULL,
    command TEXT NOT NULL,
    arguments TEXT NOT NULL,
    executable TEXT NOT NULL,
    state TEXT NOT NULL,
    threads INTEGER NOT NULL,
    resident_bytes INTEGER NOT NULL) STRICT;
CREATE TABLE fds(
    snapshot INTEGER NOT NULL REFERENCES snapshots ON DELETE CASCADE,
    pid INTEGER NOT NULL,
    fd INTEGER NOT NULL,
    kind TEXT NOT NULL,
    target TEXT NOT NULL) STRICT;
CREATE TABLE mappings(
    snapshot INTEGER NOT NULL REFERENCES snapshots ON DELETE CASCADE,
    pid INTEGER NOT NULL,
    start INTEGER NOT NULL,
    "end" INTEGER NOT NULL,
    protection TEXT NOT NULL,
    kind TEXT NOT NULL,
    path TEXT NOT NULL,
    dumped_bytes INTEGER NOT NULL) STRICT;
CREATE TABLE files(
    snapshot INTEGER NOT NULL REFERENCES snapshots ON DELETE CASCADE,
    path TEXT NOT NULL,
    type TEXT NOT NULL,
    size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    digest TEXT NOT NULL) STRICT;
CREATE INDEX tags_of ON tags(snapshot);
CREATE INDEX processes_of ON processes(snapshot);
CREATE INDEX fds_of ON fds(snapshot);
CREATE INDEX mappings_of ON mappings(snapshot);
CREATE INDEX files_of ON files(snapshot);
-- Not for users of `sql`: numbers once given out, and what is under way.
CREATE TABLE counters(
    container TEXT PRIMARY KEY,
    last INTEGER NOT NULL) STRICT;
CREATE TABLE pending(
    id TEXT PRIMARY KEY,
    state INTEGER NOT NULL,
    temporary_name TEXT NOT NULL,
    container TEXT NOT NULL,
    number INTEGER NOT NULL) STRICT;
)sql";

constexpr std::string_view k_columns =
    "id, container, number, kind, container_id, container_image, parent, taken_at_ns, stall_ns, wall_ns, "
    "message, "
    "process_count, memory_bytes, layer_bytes, engine, criu, architecture, raw_bytes, stored_bytes, snapshot";
constexpr int k_rowid_column = 19;

SnapshotId checked_id(std::string id, std::string_view path) {
    // An id becomes a file name, and the catalog may be anybody's.
    if (is_snapshot_id(id)) return id;
    throw Error(ErrorKind::damaged,
                fmt::format("{} is damaged: it holds '{}' where an id belongs", path, base::escape(id)),
                "run `cprewind verify`");
}

SnapshotRecord record_from(const Statement& row, std::string_view path) {
    SnapshotRecord record;
    SnapshotInfo& info = record.info;
    record.id = checked_id(row.text(0), path);
    info.container_name = row.text(1);
    record.number = row.natural(2);
    info.kind = row.integer(3) == 1 ? SnapshotKind::safety : SnapshotKind::manual;
    info.container_id = row.text(4);
    info.container_image = row.text(5);
    if (!row.is_null(6)) info.parent = checked_id(row.text(6), path);
    info.taken_at = base::WallTime(std::chrono::nanoseconds(row.integer(7)));
    info.stall = std::chrono::nanoseconds(row.integer(8));
    info.wall = std::chrono::nanoseconds(row.integer(9));
    info.message = row.text(10);
    info.process_count = row.natural(11);
    info.memory_bytes = row.natural(12);
    info.layer_bytes = row.natural(13);
    info.engine = row.text(14);
    info.criu = row.text(15);
    info.architecture = row.text(16);
    record.raw_bytes = row.natural(17);
    record.stored_bytes = row.natural(18);
    return record;
}

}  // namespace

Catalog::Catalog(const std::filesystem::path& path, Database::Mode mode)
    : database_(path, mode), path_(path.string()) {
    int64_t version = database_.integer("PRAGMA user_version").value_or(0);
    if (version > k_schema_version) {
        throw Error(ErrorKind::unsupported,
                    fmt::format("{} has schema version {}; this cprewind understands versions up to {}",
                                path_, version, k_schema_version),
                    "use the cprewind that wrote it, or a newer one");
    }
    if (version < 1) {
        throw Error(ErrorKind::damaged,
                    fmt::format("{} holds no catalog (schema version {})", path_, version),
                    "the packs beside it still hold every snapshot");
    }
}

void Catalog::make_tables(const std::filesystem::path& path) {
    Database database(path, Database::Mode::write);
    Transaction transaction(database, Transaction::Kind::write);
    if (database.integer("PRAGMA user_version") != 0) return;
    database.execute(k_schema);
    database.execute(fmt::format("PRAGMA user_version = {}", k_schema_version));
    transaction.commit();
}

std::vector<SnapshotRecord> Catalog::list() const {
    std::vector<SnapshotRecord> records;
    std::map<int64_t, size_t> by_row;
    Statement rows = database_.prepare(
        fmt::format("SELECT {} FROM snapshots ORDER BY taken_at_ns, container, number", k_columns));
    while (rows.step()) {
        by_row[rows.integer(k_rowid_column)] = records.size();
        records.push_back(record_from(rows, path_));
    }
    Statement tags = database_.prepare("SELECT snapshot, tag FROM tags ORDER BY tag");
    while (tags.step()) {
        auto at = by_row.find(tags.integer(0));
        if (at != by_row.end()) records[at->second].info.tags.push_back(tags.text(1));
    }
    return records;
}

std::optional<SnapshotRecord> Catalog::find(const SnapshotId& id) const {
    Statement row = database_.prepare(fmt::format("SELECT {} FROM snapshots WHERE id = ?", k_columns));
    return first_of(row.bind(id));
}

std::optional<SnapshotRecord> Catalog::find(std::string_view container, uint64_t number) const {
    Statement row = database_.prepare(
        fmt::format("SELECT {} FROM snapshots WHERE container = ? AND number = ?", k_columns));
    return first_of(row.bind(container).bind(number));
}

std::optional<SnapshotRecord> Catalog::find_latest(std::string_view container) const {
    Statement row = database_.prepare(
        fmt::format("SELECT {} FROM snapshots WHERE container = ? ORDER BY number DESC LIMIT 1", k_columns));
    return first_of(row.bind(container));
}

std::optional<SnapshotRecord> Catalog::first_of(Statement& row) const {
    if (!row.step()) return std::nullopt;
    SnapshotRecord record = record_from(row, path_);
    Statement tags = database_.prepare("SELECT tag FROM tags WHERE snapshot = ? ORDER BY tag");
    tags.bind(row.integer(k_rowid_column));
    while (tags.step()) record.info.tags.push_back(tags.text(0));
    return record;
}

CatalogRows Catalog::rows_of(const SnapshotId& id) const {
    CatalogRows rows;
    auto select = [&](std::string_view columns, std::string_view table) {
        Statement statement = database_.prepare(fmt::format(
            "SELECT {} FROM {} WHERE snapshot = (SELECT snapshot FROM snapshots WHERE id = ?) ORDER BY rowid",
            columns, table));
        statement.bind(id);
        return statement;
    };
    Statement row = select("pid, parent_pid, command, arguments, executable, state, threads, resident_bytes",
                           "processes");
    while (row.step()) {
        rows.processes.push_back({row.integer(0), row.integer(1), row.text(2), row.text(3), row.text(4),
                                  row.text(5), row.natural(6), row.natural(7)});
    }
    row = select("pid, fd, kind, target", "fds");
    while (row.step()) rows.fds.push_back({row.integer(0), row.integer(1), row.text(2), row.text(3)});
    row = select("pid, start, \"end\", protection, kind, path, dumped_bytes", "mappings");
    while (row.step()) {
        rows.mappings.push_back({row.integer(0), row.natural(1), row.natural(2), row.text(3), row.text(4),
                                 row.text(5), row.natural(6)});
    }
    row = select("path, type, size, mtime_ns, digest", "files");
    while (row.step())
        rows.files.push_back({row.text(0), row.text(1), row.natural(2), row.integer(3), row.text(4)});
    return rows;
}

std::optional<SnapshotId> Catalog::head(std::string_view container_id) const {
    Statement row = database_.prepare("SELECT id FROM heads WHERE container_id = ?");
    if (!row.bind(container_id).step()) return std::nullopt;
    return checked_id(row.text(0), path_);
}

std::vector<Pending> Catalog::pending() const {
    std::vector<Pending> all;
    Statement row = database_.prepare("SELECT id, state, temporary_name FROM pending");
    while (row.step()) {
        // The name is joined to tmp/ and removed: it must not lead elsewhere.
        std::string name = row.text(2);
        if (name.find('/') != std::string::npos || name == "..") name.clear();
        all.push_back({checked_id(row.text(0), path_),
                       row.integer(1) == 0 ? PendingState::writing : PendingState::removing, name});
    }
    return all;
}

std::optional<Pending> Catalog::find_pending(const SnapshotId& id) const {
    for (Pending& one : pending()) {
        if (one.id == id) return one;
    }
    return std::nullopt;
}

std::vector<std::string> Catalog::faults() const {
    std::vector<std::string> out;
    try {
        // Not quick_check, which does not compare indexes with their tables.
        Statement check = database_.prepare("PRAGMA integrity_check(20)");
        while (check.step()) {
            if (check.text(0) != "ok") out.push_back(check.text(0));
        }
        Statement foreign = database_.prepare("PRAGMA foreign_key_check");
        while (foreign.step())
            out.push_back(fmt::format("a row of table {} belongs to no snapshot", foreign.text(0)));
    } catch (const Error& error) {
        out.push_back(error.message());
    }
    return out;
}

uint64_t Catalog::next_number(std::string_view container_name) const {
    Statement last = database_.prepare(
        "SELECT max(coalesce((SELECT last FROM counters WHERE container = ?1), 0),"
        " coalesce((SELECT max(number) FROM snapshots WHERE container = ?1), 0),"
        " coalesce((SELECT max(number) FROM pending WHERE container = ?1), 0))");
    last.bind(container_name).step();
    return last.natural(0) + 1;
}

void Catalog::add_pending(const Pending& pending, std::string_view container_name, uint64_t number) const {
    database_.prepare("INSERT INTO pending VALUES (?, ?, ?, ?, ?)")
        .bind(pending.id)
        .bind(static_cast<int64_t>(pending.state))
        .bind(pending.temporary_name)
        .bind(container_name)
        .bind(number)
        .run();
}

void Catalog::set_removing(const SnapshotId& id) const {
    database_.prepare("UPDATE pending SET state = ?, temporary_name = '' WHERE id = ?")
        .bind(static_cast<int64_t>(PendingState::removing))
        .bind(id)
        .run();
}

void Catalog::drop_pending(const SnapshotId& id) const {
    database_.prepare("DELETE FROM pending WHERE id = ?").bind(id).run();
}

void Catalog::add(const SnapshotRecord& record, const CatalogRows& rows) const {
    const SnapshotInfo& info = record.info;
    Statement insert =
        database_.prepare(fmt::format("INSERT INTO snapshots({}, taken_at) VALUES "
                                      "(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,NULL,?) RETURNING snapshot",
                                      k_columns));
    insert.bind(record.id)
        .bind(info.container_name)
        .bind(record.number)
        .bind(static_cast<int64_t>(info.kind));
    insert.bind(info.container_id).bind(info.container_image);
    if (info.parent) {
        insert.bind(*info.parent);
    } else {
        insert.bind_null();
    }
    insert.bind(int64_t{info.taken_at.time_since_epoch().count()}).bind(int64_t{info.stall.count()});
    insert.bind(int64_t{info.wall.count()})
        .bind(info.message)
        .bind(info.process_count)
        .bind(info.memory_bytes);
    insert.bind(info.layer_bytes).bind(info.engine).bind(info.criu).bind(info.architecture);
    insert.bind(record.raw_bytes).bind(record.stored_bytes).bind(base::rfc3339(info.taken_at));
    CPREWIND_CHECK(insert.step());
    int64_t snapshot = insert.integer(0);
    CPREWIND_CHECK(!insert.step());
    add_rows(snapshot, rows);
    for (const std::string& tag : info.tags) set_tag(record.id, tag);
    database_.prepare("INSERT INTO counters VALUES (?1, ?2) ON CONFLICT DO UPDATE SET last = max(last, ?2)")
        .bind(info.container_name)
        .bind(record.number)
        .run();
}

void Catalog::add_rows(int64_t snapshot, const CatalogRows& rows) const {
    Statement process = database_.prepare("INSERT INTO processes VALUES (?,?,?,?,?,?,?,?,?)");
    for (const ProcessRow& row : rows.processes) {
        process.bind(snapshot).bind(row.pid).bind(row.parent_pid).bind(row.command).bind(row.arguments);
        process.bind(row.executable).bind(row.state).bind(row.threads).bind(row.resident_bytes).run();
    }
    Statement fd = database_.prepare("INSERT INTO fds VALUES (?,?,?,?,?)");
    for (const FdRow& row : rows.fds)
        fd.bind(snapshot).bind(row.pid).bind(row.fd).bind(row.kind).bind(row.target).run();
    Statement mapping = database_.prepare("INSERT INTO mappings VALUES (?,?,?,?,?,?,?,?)");
    for (const MappingRow& row : rows.mappings) {
        mapping.bind(snapshot)
            .bind(row.pid)
            .bind(row.start)
            .bind(row.end)
            .bind(row.protection)
            .bind(row.kind);
        mapping.bind(row.path).bind(row.dumped_bytes).run();
    }
    Statement file = database_.prepare("INSERT INTO files VALUES (?,?,?,?,?,?)");
    for (const FileRow& row : rows.files) {
        file.bind(snapshot)
            .bind(row.path)
            .bind(row.type)
            .bind(row.size)
            .bind(row.mtime_ns)
            .bind(row.digest)
            .run();
    }
}

void Catalog::remove(const SnapshotRecord& record) const {
    database_.prepare("DELETE FROM snapshots WHERE id = ?").bind(record.id).run();
    if (record.info.parent && find(*record.info.parent)) {
        database_.prepare("UPDATE heads SET id = ? WHERE id = ?")
            .bind(*record.info.parent)
            .bind(record.id)
            .run();
    } else {
        database_.prepare("DELETE FROM heads WHERE id = ?").bind(record.id).run();
    }
}

void Catalog::set_head(std::string_view container_id, const SnapshotId& id) const {
    database_.prepare("INSERT INTO heads VALUES (?1, ?2) ON CONFLICT DO UPDATE SET id = ?2")
        .bind(container_id)
        .bind(id)
        .run();
}

bool Catalog::set_tag(const SnapshotId& id, std::string_view tag) const {
    Statement insert = database_.prepare(
        "INSERT INTO tags SELECT ?1, snapshot FROM snapshots WHERE id = ?2 "
        "ON CONFLICT DO UPDATE SET snapshot = excluded.snapshot RETURNING snapshot");
    bool done = insert.bind(tag).bind(id).step();
    while (done && insert.step()) {
    }
    return done;
}

}  // namespace cprewind::store

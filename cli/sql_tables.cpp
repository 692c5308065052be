#include "cli/sql_tables.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sqlite3.h>

#include <algorithm>
#include <cctype>

#include "base/error.h"
#include "base/text.h"
#include "engine/catalog_rows.h"
#include "inspect/ps.h"
#include "inspect/sockets.h"
#include "store/catalog.h"
#include "store/layout.h"
#include "store/rows_codec.h"

namespace cprewind::cli {

namespace {

constexpr const char* k_tables = R"sql(
CREATE TEMP TABLE threads(snapshot INTEGER, pid INTEGER, tid INTEGER, name TEXT);
CREATE TEMP TABLE sockets(snapshot INTEGER, pid INTEGER, fd INTEGER, protocol TEXT, state TEXT, local TEXT,
                          local_port INTEGER, remote TEXT, remote_port INTEGER);
CREATE TEMP TABLE mounts(snapshot INTEGER, mount INTEGER, filesystem TEXT, mountpoint TEXT, source TEXT, options TEXT);
CREATE TEMP TABLE env(snapshot INTEGER, pid INTEGER, name TEXT, value TEXT);
CREATE TEMP TABLE volumes(snapshot INTEGER, volume TEXT, destination TEXT, files INTEGER, bytes INTEGER);
CREATE TEMP TABLE volume_files(snapshot INTEGER, volume TEXT, path TEXT, type TEXT, size INTEGER, mtime_ns INTEGER,
                               digest TEXT);
CREATE TEMP TABLE findings(snapshot INTEGER, kind TEXT, image TEXT, message TEXT);
CREATE TEMP VIEW vmas AS SELECT * FROM mappings;
CREATE TEMP VIEW containers AS
    SELECT container_id, container, container_image, count(*) AS snapshots, min(taken_at) AS first_at,
           max(taken_at) AS last_at, sum(stored_bytes) AS stored_bytes
    FROM main.snapshots GROUP BY container_id, container;
)sql";

constexpr const char* k_filled[] = {"threads", "sockets",      "mounts",  "env",
                                    "volumes", "volume_files", "findings"};

[[noreturn]] void fail(sqlite3* catalog) {
    throw base::Error(base::ErrorKind::failed,
                      fmt::format("SQLite: {}", base::escape(sqlite3_errmsg(catalog))));
}

// One INSERT, again and again.
class Insert {
 public:
    Insert(sqlite3* catalog, const std::string& table, int columns) : catalog_(catalog) {
        std::string marks = "?";
        for (int i = 1; i < columns; ++i) marks += ",?";
        std::string text = fmt::format("INSERT INTO temp.{} VALUES ({})", table, marks);
        sqlite3_stmt* raw = nullptr;
        if (sqlite3_prepare_v2(catalog, text.c_str(), -1, &raw, nullptr) != SQLITE_OK) fail(catalog);
        statement_.reset(raw);
    }

    template <typename... Values>
    void row(const Values&... values) {
        int column = 0;
        (bind(++column, values), ...);
        if (sqlite3_step(statement_.get()) != SQLITE_DONE) fail(catalog_);
        sqlite3_reset(statement_.get());
        sqlite3_clear_bindings(statement_.get());
    }

 private:
    void bind(int column, int64_t value) { sqlite3_bind_int64(statement_.get(), column, value); }
    void bind(int column, const std::optional<int64_t>& value) {
        if (value) bind(column, *value);
    }
    void bind(int column, std::string_view text) {
        sqlite3_bind_text64(statement_.get(), column, text.data(), text.size(), SQLITE_TRANSIENT,
                            SQLITE_UTF8);
    }

    sqlite3* catalog_;
    std::unique_ptr<sqlite3_stmt, store::FinalizeStatement> statement_;
};

// Whether `query` has `name` as a word of its own. Too often yes costs time, nothing else.
bool names(const std::string& query, std::string_view name) {
    auto is_word = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; };
    std::string lower = query;
    std::transform(lower.begin(), lower.end(), lower.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    for (size_t at = lower.find(name); at != std::string::npos; at = lower.find(name, at + 1)) {
        size_t end = at + name.size();
        if ((at == 0 || !is_word(lower[at - 1])) && (end == lower.size() || !is_word(lower[end])))
            return true;
    }
    return false;
}

std::optional<int64_t> port_of(const inspect::SocketRow& row, const std::string& address) {
    size_t colon = address.rfind(':');
    if (!row.family.starts_with("inet") || colon == std::string::npos) return std::nullopt;
    auto port = base::parse_number(std::string_view(address).substr(colon + 1));
    return port && *port <= UINT16_MAX ? std::optional(static_cast<int64_t>(*port)) : std::nullopt;
}

void fill_sockets(sqlite3* catalog, const Subject& subject, int64_t snapshot) {
    Insert insert(catalog, "sockets", 9);
    for (const inspect::SocketRow& row : inspect::list_sockets(subject.moment()).rows) {
        auto add = [&](std::optional<int64_t> pid, std::optional<int64_t> fd) {
            insert.row(snapshot, pid, fd,
                       std::string_view(row.family == "inet6" ? row.protocol + "6" : row.protocol),
                       std::string_view(row.state), std::string_view(row.local), port_of(row, row.local),
                       std::string_view(row.remote), port_of(row, row.remote));
        };
        for (const inspect::Holder& holder : row.holders) add(holder.pid.value, holder.fd);
        if (row.holders.empty()) add(std::nullopt, std::nullopt);
    }
}

void fill_env(sqlite3* catalog, const Subject& subject, int64_t snapshot) {
    Insert insert(catalog, "env", 4);
    images::Findings ignored;  // those of `env`
    images::MemoryWindow memories(subject.checkpoint, *subject.images, images::ExpectedStrings::environment,
                                  ignored);
    for (const images::Process& process : subject.checkpoint.processes) {
        bool complete = false;
        for (const std::string& variable : inspect::read_environment(memories, process, complete)) {
            size_t equals = std::min(variable.find('='), variable.size());
            insert.row(snapshot, int64_t{process.pid.value}, std::string_view(variable).substr(0, equals),
                       std::string_view(variable).substr(std::min(equals + 1, variable.size())));
        }
    }
}

void fill_volumes(sqlite3* catalog, const Subject& subject, int64_t snapshot) {
    Insert volumes(catalog, "volumes", 5), files(catalog, "volume_files", 7);
    for (const images::FileTree& tree : subject.trees) {
        std::string title = tree_title(tree);
        int64_t count = 0, bytes = 0;
        for (const images::LayerEntry& entry : tree.tree.entries) {
            if (entry.path.empty()) continue;  // the volume itself
            ++count;
            if (entry.hard_link_to.empty()) bytes += static_cast<int64_t>(entry.size);
            files.row(snapshot, std::string_view(title), std::string_view(entry.path),
                      std::string_view(images::name_of(entry.type)), static_cast<int64_t>(entry.size),
                      entry.mtime_ns, std::string_view(entry.digest ? entry.digest->hex() : std::string()));
        }
        volumes.row(snapshot, std::string_view(title), std::string_view(tree.destination), count, bytes);
    }
}

}  // namespace

void make_sql_tables(sqlite3* catalog) {
    if (sqlite3_exec(catalog, k_tables, nullptr, nullptr, nullptr) != SQLITE_OK) fail(catalog);
}

void fill_sql_tables(sqlite3* catalog, const Subject& subject, int64_t snapshot) {
    const images::Checkpoint& checkpoint = subject.checkpoint;
    Insert thread(catalog, "threads", 4);
    for (const images::Process& process : checkpoint.processes) {
        for (const images::Thread& each : process.threads) {
            thread.row(snapshot, int64_t{process.pid.value}, int64_t{each.tid.value},
                       std::string_view(each.comm.empty() ? process.comm : each.comm));
        }
    }
    Insert mount(catalog, "mounts", 6);
    for (const images::Mount& each : checkpoint.mounts) {
        mount.row(snapshot, int64_t{each.id}, std::string_view(each.filesystem),
                  std::string_view(each.mountpoint), std::string_view(each.source),
                  std::string_view(each.options));
    }
    Insert finding(catalog, "findings", 4);
    for (const images::Finding& each : checkpoint.findings)
        finding.row(snapshot, std::string_view(name_of(each.kind)), std::string_view(each.file),
                    std::string_view(each.message));
    fill_sockets(catalog, subject, snapshot);
    fill_env(catalog, subject, snapshot);
    fill_volumes(catalog, subject, snapshot);
}

void fill_sql_tables(Context& context, sqlite3* catalog, const std::string& query) {
    bool needed = std::any_of(std::begin(k_filled), std::end(k_filled),
                              [&](const char* name) { return names(query, name); });
    if (!needed) return;
    sqlite3_stmt* raw = nullptr;
    if (sqlite3_prepare_v2(catalog, "SELECT snapshot, id FROM main.snapshots", -1, &raw, nullptr) !=
        SQLITE_OK)
        fail(catalog);
    std::unique_ptr<sqlite3_stmt, store::FinalizeStatement> statement(raw);
    std::vector<std::pair<int64_t, std::string>> snapshots;
    while (sqlite3_step(raw) == SQLITE_ROW) {
        const unsigned char* id = sqlite3_column_text(raw, 1);
        snapshots.emplace_back(sqlite3_column_int64(raw, 0),
                               id == nullptr ? "" : reinterpret_cast<const char*>(id));
    }
    for (const auto& [snapshot, id] : snapshots) {
        try {
            fill_sql_tables(catalog, open_subject(context, id), snapshot);
        } catch (const base::Error& error) {
            complain(fmt::format("snapshot {} is left out: {}", id.substr(0, 12), error.message()));
        }
    }
}

PassingCatalog make_passing_catalog(const Context& context, const std::string& path) {
    PassingCatalog out{open_subject(context, path),
                       base::TemporaryDirectory(std::filesystem::temp_directory_path(), "cprewind-sql-"),
                       {}};
    const Subject& subject = out.subject;
    out.path = (out.directory.path() / store::k_catalog_name).string();
    base::open_file(out.path, O_WRONLY | O_CREAT | O_EXCL);
    store::Catalog::make_tables(out.path);
    store::SnapshotRecord record = subject.record.value_or(store::SnapshotRecord());
    if (!subject.record) {
        record.id = std::string(64, '0');
        record.number = 1;
        record.info.container_name = subject.name;
        record.info.process_count = subject.checkpoint.processes.size();
        record.info.architecture = images::name_of(subject.checkpoint.architecture);
    }
    images::LayerTree none;
    store::CatalogRows rows = store::normalized(engine::make_catalog_rows(
        subject.checkpoint, *subject.images, subject.layer ? *subject.layer : none));
    store::Catalog catalog(out.path, store::Database::Mode::write);
    store::Transaction transaction = catalog.write();
    catalog.add(record, rows);
    transaction.commit();
    return out;
}

}  // namespace cprewind::cli

// `cprewind sql`: questions across snapshots, asked of the catalog in its own language.
//
// The catalog must survive whatever is typed here, and the words may come from a script that passes on what
// others wrote. So there are three locks: the file is opened read-only, SQLite's query_only is on, and an
// authorizer lets through nothing but reading the tables (no ATTACH, which would write to other files, and no
// PRAGMA that changes anything).
#include <fmt/format.h>
#include <sqlite3.h>

#include <cmath>
#include <map>
#include <memory>

#include "base/error.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/json_text.h"
#include "cli/options.h"
#include "cli/subject.h"
#include "store/sqlite.h"

namespace cprewind::cli {

const char* const k_sql_help = R"(Examples:
  cprewind sql                                           the tables and their columns
  cprewind sql "SELECT container, count(*), sum(stored_bytes) FROM snapshots GROUP BY 1"
  cprewind sql "SELECT s.container, s.number, f.target FROM fds f JOIN snapshots s USING (snapshot)
                WHERE f.target LIKE '%:443%'"            who talked to port 443, and when
  cprewind sql --json "SELECT * FROM processes WHERE command = 'sh'"

Usage: cprewind sql [QUERY]

Runs one query in SQLite's language on the catalog and prints the rows, with --json as a list of objects. Only reading is
possible: a statement that writes is refused. docs/store-format.md says what the tables mean.

Exit status: 0 done, 1 failed, 2 usage (SQLite does not understand the query, or it is not for reading).)";

namespace {

using base::Error;
using base::ErrorKind;

using Handle = std::unique_ptr<sqlite3, store::CloseDatabase>;
using Prepared = std::unique_ptr<sqlite3_stmt, store::FinalizeStatement>;

constexpr int k_busy_milliseconds = 30'000;  // as store/sqlite.cpp has it
constexpr const char* k_only_reading = "the catalog can only be read here";

// Where a query names no table, this is what it most likely wanted to know.
constexpr const char* k_tables =
    R"(SELECT m.name AS "table", group_concat(c.name, ', ') AS columns FROM sqlite_schema m, pragma_table_info(m.name) c
WHERE m.type = 'table' AND m.name NOT IN ('counters', 'pending') GROUP BY m.name)";

int allow_reading(void*, int action, const char*, const char* second, const char*, const char*) {
    switch (action) {
        case SQLITE_SELECT:
        case SQLITE_READ:
        case SQLITE_RECURSIVE:
            return SQLITE_OK;
        case SQLITE_FUNCTION:
            return std::string_view(second) == "load_extension" ? SQLITE_DENY : SQLITE_OK;
        default:
            return SQLITE_DENY;
    }
}

Handle open_catalog(const std::string& path) {
    sqlite3* raw = nullptr;
    int result = sqlite3_open_v2(path.c_str(), &raw, SQLITE_OPEN_READONLY, nullptr);
    Handle handle(raw);
    if (result == SQLITE_OK) {
        sqlite3_busy_timeout(raw, k_busy_milliseconds);
        result = sqlite3_exec(raw, "PRAGMA query_only = ON; PRAGMA trusted_schema = OFF", nullptr, nullptr,
                              nullptr);
    }
    if (result != SQLITE_OK) {
        throw Error(ErrorKind::failed, fmt::format("cannot open {}: {}", path, sqlite3_errstr(result)));
    }
    return handle;
}

Prepared prepare(sqlite3* handle, const std::string& query) {
    sqlite3_stmt* raw = nullptr;
    const char* rest = nullptr;
    int result = sqlite3_prepare_v2(handle, query.c_str(), static_cast<int>(query.size() + 1), &raw, &rest);
    Prepared statement(raw);
    if ((result & 0xff) == SQLITE_AUTH) {
        throw Error(ErrorKind::usage,
                    fmt::format("{}: {}", k_only_reading, base::escape(sqlite3_errmsg(handle))),
                    "write a SELECT; to change what is kept, use tag and rm");
    }
    if (result != SQLITE_OK) {
        throw Error(ErrorKind::usage, fmt::format("SQLite: {}", base::escape(sqlite3_errmsg(handle))),
                    "cprewind sql, without a query, shows the tables and their columns");
    }
    if (raw == nullptr)
        throw Error(ErrorKind::usage, "the query is empty", "cprewind help sql shows examples");
    if (!base::trim(rest).empty()) {
        throw Error(ErrorKind::usage, fmt::format("one query at a time: '{}' follows it",
                                                  base::escape(std::string_view(rest).substr(0, 40))));
    }
    // The authorizer has seen to that already; SQLite's own word is the last.
    if (sqlite3_stmt_readonly(raw) == 0) throw Error(ErrorKind::usage, k_only_reading);
    return statement;
}

// Two columns of one name (s.id, p.id) would be one field of an object: the later get a number.
std::vector<std::string> column_names(sqlite3_stmt* statement) {
    std::vector<std::string> names;
    std::map<std::string, int> seen;
    for (int i = 0; i < sqlite3_column_count(statement); ++i) {
        std::string name = sqlite3_column_name(statement, i);
        int times = ++seen[name];
        names.push_back(times == 1 ? name : fmt::format("{}_{}", name, times));
    }
    return names;
}

std::string bytes_of(sqlite3_stmt* statement, int column) {
    const void* data = sqlite3_column_blob(statement, column);
    auto size = static_cast<size_t>(sqlite3_column_bytes(statement, column));
    return data == nullptr ? std::string() : std::string(static_cast<const char*>(data), size);
}

void put_value(Json& row, const std::string& name, sqlite3_stmt* statement, int column) {
    switch (sqlite3_column_type(statement, column)) {
        case SQLITE_NULL:
            row[name] = nullptr;
            return;
        case SQLITE_INTEGER:
            row[name] = sqlite3_column_int64(statement, column);
            return;
        case SQLITE_FLOAT: {
            double value = sqlite3_column_double(statement, column);
            row[name] = std::isfinite(value) ? Json(value) : Json();  // JSON has no infinity
            return;
        }
        default:
            break;
    }
    std::string bytes = bytes_of(statement, column);
    // Unlike elsewhere the field with the bytes is there only when it says something: the names are the
    // query's.
    if (base::is_utf8(bytes)) {
        row[name] = bytes;
    } else {
        put_bytes(row, name, bytes);
    }
}

std::string cell(sqlite3_stmt* statement, int column) {
    return sqlite3_column_type(statement, column) == SQLITE_NULL ? ""
                                                                 : base::escape(bytes_of(statement, column));
}

bool is_number(sqlite3_stmt* statement, int column) {
    int type = sqlite3_column_type(statement, column);
    return type == SQLITE_INTEGER || type == SQLITE_FLOAT;
}

}  // namespace

int run_sql(Context& context, const std::vector<std::string>& arguments) {
    Parsed parsed = parse_words(arguments, po::options_description(), 0, 1, "QUERY");
    // Opens it first as every command does: what is no repository, or a newer one, is told in words.
    Handle catalog = open_catalog(open_for_reading(context)->catalog_path().string());
    // Our own query needs none, and the table-valued pragma in it would not pass.
    if (!parsed.words.empty()) sqlite3_set_authorizer(catalog.get(), allow_reading, nullptr);
    Prepared statement = prepare(catalog.get(), parsed.words.empty() ? k_tables : parsed.words.front());
    std::vector<std::string> names = column_names(statement.get());
    std::vector<std::string> heads;
    for (const std::string& name : names) heads.push_back(base::escape(name));
    Table table(heads);
    std::vector<size_t> numeric;
    Json rows = Json::array();
    int result = SQLITE_DONE;
    for (size_t count = 0; (result = sqlite3_step(statement.get())) == SQLITE_ROW; ++count) {
        Json row = Json::object();
        std::vector<std::string> cells;
        for (size_t i = 0; i < names.size(); ++i) {
            int column = static_cast<int>(i);
            if (count == 0 && is_number(statement.get(), column)) numeric.push_back(i);
            if (context.json) {
                put_value(row, names[i], statement.get(), column);
            } else {
                cells.push_back(cell(statement.get(), column));
            }
        }
        if (context.json) {
            rows.push_back(std::move(row));
        } else {
            table.add(std::move(cells));
        }
    }
    if (result != SQLITE_DONE) {
        throw Error(ErrorKind::failed,
                    fmt::format("SQLite: {}", base::escape(sqlite3_errmsg(catalog.get()))));
    }
    if (context.json) {
        context.output.json({{"rows", rows}});
    } else {
        context.output.table(table.right(numeric));
    }
    return exit_done;
}

}  // namespace cprewind::cli

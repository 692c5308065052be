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
#include "cli/sql_tables.h"
#include "cli/subject.h"
#include "store/sqlite.h"

namespace cprewind::cli {

const char* const k_sql_help = R"(Examples:
  cprewind sql                                           the tables and their columns
  cprewind sql "SELECT container, count(*), sum(stored_bytes) FROM snapshots GROUP BY 1"
  cprewind sql "SELECT s.container, s.number, f.target FROM fds f JOIN snapshots s USING (snapshot)
                WHERE f.target LIKE '%:443%'"            who talked to port 443, and when
  cprewind sql "SELECT DISTINCT container, number FROM sockets JOIN snapshots USING (snapshot)
                WHERE state = 'LISTEN' AND local_port = 4444"   who listened on 4444
  cprewind sql --csv "SELECT pid, name, value FROM env" --in ./checkpoint   a path instead of the repository
  cprewind sql --json "SELECT * FROM processes WHERE command = 'sh'"

Usage: cprewind sql [QUERY] [options]

Runs one query in SQLite's language on the catalog and prints the rows, with --json as a list of objects. Only reading is
possible: a statement that writes is refused. docs/sql.md says what the tables mean.

  --csv         comma-separated values (RFC 4180), with a line of names; bytes as they are, except to a terminal
  --in PATH     ask about one checkpoint (a directory or an archive) instead of the repository

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
    R"(SELECT m.name AS "table", group_concat(c.name, ', ') AS columns FROM (SELECT name, type FROM sqlite_schema UNION ALL SELECT name, type FROM sqlite_temp_schema) m,
     pragma_table_info(m.name) c
WHERE m.type IN ('table', 'view') AND m.name NOT IN ('counters', 'pending') GROUP BY m.name)";

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
        // Tables of our own are filled in memory (sql_tables.h), before the locks are put on.
        result = sqlite3_exec(raw, "PRAGMA temp_store = MEMORY; PRAGMA trusted_schema = OFF", nullptr,
                              nullptr, nullptr);
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

// As RFC 4180 has it. NULL is empty.
std::string csv_cell(std::string text) {
    if (text.find_first_of("\",\r\n") == std::string::npos) return text;
    std::string quoted = "\"";
    for (char c : text) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
    return quoted + '"';
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
    po::options_description options;
    options.add_options()("csv", "")("in", po::value<std::string>());
    Parsed parsed = parse_words(arguments, options, 0, 1, "QUERY");
    bool csv = parsed.has("csv") && !context.json;
    std::optional<PassingCatalog> passing;
    if (parsed.has("in")) passing.emplace(make_passing_catalog(context, parsed.text("in")));
    // Opens it first as every command does: what is no repository, or a newer one, is told in words.
    std::string query = parsed.words.empty() ? std::string() : parsed.words.front();
    Handle catalog =
        open_catalog(passing ? passing->path : open_for_reading(context)->catalog_path().string());
    make_sql_tables(catalog.get());
    if (passing) {
        fill_sql_tables(catalog.get(), passing->subject, 1);
    } else {
        fill_sql_tables(context, catalog.get(), query);
    }
    if (sqlite3_exec(catalog.get(), "PRAGMA query_only = ON", nullptr, nullptr, nullptr) != SQLITE_OK)
        throw Error(ErrorKind::failed, fmt::format("SQLite: {}", sqlite3_errmsg(catalog.get())));
    // Our own query needs none, and the table-valued pragma in it would not pass.
    if (!parsed.words.empty()) sqlite3_set_authorizer(catalog.get(), allow_reading, nullptr);
    Prepared statement = prepare(catalog.get(), query.empty() && parsed.words.empty() ? k_tables : query);
    std::vector<std::string> names = column_names(statement.get());
    std::vector<std::string> heads;
    for (const std::string& name : names) heads.push_back(base::escape(name));
    Table table(heads);
    auto csv_line = [&](std::vector<std::string> cells) {
        for (std::string& each : cells) each = csv_cell(std::move(each));
        context.output.line(base::join(cells, ",") + "\r");
    };
    if (csv) csv_line(names);
    std::vector<size_t> numeric;
    Json rows = Json::array();
    int result = SQLITE_DONE;
    for (size_t count = 0; (result = sqlite3_step(statement.get())) == SQLITE_ROW; ++count) {
        Json row = Json::object();
        std::vector<std::string> cells;
        for (size_t i = 0; i < names.size(); ++i) {
            int column = static_cast<int>(i);
            if (count == 0 && is_number(statement.get(), column)) numeric.push_back(i);
            if (csv) {
                std::string bytes = bytes_of(statement.get(), column);
                cells.push_back(context.output.to_terminal() ? base::escape(bytes) : bytes);
            } else if (context.json) {
                put_value(row, names[i], statement.get(), column);
            } else {
                cells.push_back(cell(statement.get(), column));
            }
        }
        if (csv) {
            csv_line(std::move(cells));
        } else if (context.json) {
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
    } else if (!csv) {
        context.output.table(table.right(numeric));
    }
    return exit_done;
}

}  // namespace cprewind::cli

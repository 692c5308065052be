#include "store/sqlite.h"

#include <fmt/format.h>
#include <sqlite3.h>

#include "base/error.h"

namespace cprewind::store {
namespace {

using base::Error;
using base::ErrorKind;

// Long enough for a writer that inserts the rows of a large snapshot, short enough to tell a person of a
// hang.
constexpr int k_busy_milliseconds = 30'000;

struct Meaning {
    ErrorKind kind;
    const char* hint;
};

Meaning meaning_of(int result) {
    switch (result & 0xff) {
        case SQLITE_FULL:
            return {ErrorKind::io, "free some space there, then run the command again; nothing was changed"};
        case SQLITE_IOERR:
            return {ErrorKind::io, "the operating system refused; `dmesg` may say more"};
        case SQLITE_READONLY:
            return {ErrorKind::permission, "run cprewind as the owner of the repository"};
        case SQLITE_CANTOPEN:
        case SQLITE_PERM:
        case SQLITE_AUTH:
            return {ErrorKind::permission, "run cprewind as root"};
        case SQLITE_CORRUPT:
        case SQLITE_NOTADB:
            return {ErrorKind::damaged,
                    "the packs still hold every snapshot; `cprewind rebuild` makes the catalog again"};
        case SQLITE_BUSY:
        case SQLITE_LOCKED:
            return {ErrorKind::busy,
                    "another cprewind is writing to this repository; try again when it is done"};
        default:
            return {ErrorKind::failed, ""};
    }
}

[[noreturn]] void throw_sqlite(sqlite3* handle, int result) {
    std::string path = "the catalog";
    if (handle != nullptr) {
        if (const char* name = sqlite3_db_filename(handle, "main"); name != nullptr && *name != '\0')
            path = name;
    }
    // A failed open may have no connection to ask.
    std::string text = handle != nullptr ? sqlite3_errmsg(handle) : sqlite3_errstr(result);
    Meaning meaning = meaning_of(result);
    throw Error(meaning.kind, fmt::format("{}: SQLite: {} (code {})", path, text, result), meaning.hint);
}

void check(sqlite3_stmt* handle, int result) {
    if (result != SQLITE_OK) throw_sqlite(sqlite3_db_handle(handle), result);
}

}  // namespace

void CloseDatabase::operator()(sqlite3* handle) const noexcept {
    sqlite3_close_v2(handle);
}
void FinalizeStatement::operator()(sqlite3_stmt* handle) const noexcept {
    sqlite3_finalize(handle);
}

Statement& Statement::bind(std::string_view text) {
    // A null pointer would bind NULL, and an empty view may hold one.
    const char* data = text.empty() ? "" : text.data();
    check(handle_.get(), sqlite3_bind_text64(handle_.get(), next_parameter(), data, text.size(),
                                             SQLITE_TRANSIENT, SQLITE_UTF8));
    return *this;
}

Statement& Statement::bind(int64_t value) {
    check(handle_.get(), sqlite3_bind_int64(handle_.get(), next_parameter(), value));
    return *this;
}

Statement& Statement::bind_null() {
    check(handle_.get(), sqlite3_bind_null(handle_.get(), next_parameter()));
    return *this;
}

bool Statement::step() {
    int result = sqlite3_step(handle_.get());
    if (result == SQLITE_ROW) return true;
    if (result == SQLITE_DONE) return false;
    throw_sqlite(sqlite3_db_handle(handle_.get()), result);
}

void Statement::run() {
    while (step()) {
    }
    reset();
}

void Statement::reset() {
    sqlite3_reset(handle_.get());
    bound_ = 0;
}

std::string Statement::text(int column) const {
    const unsigned char* data = sqlite3_column_text(handle_.get(), column);
    int size = sqlite3_column_bytes(handle_.get(), column);
    return data == nullptr ? std::string() : std::string(data, data + size);
}

int64_t Statement::integer(int column) const {
    return sqlite3_column_int64(handle_.get(), column);
}

bool Statement::is_null(int column) const {
    return sqlite3_column_type(handle_.get(), column) == SQLITE_NULL;
}

Database::Database(const std::filesystem::path& path, Mode mode) {
    // A URI, because immutable can be said in no other way; what a URI would interpret is escaped.
    std::string uri = "file:";
    for (char c : std::filesystem::absolute(path).string()) {
        if (c == '%' || c == '?' || c == '#') {
            uri += fmt::format("%{:02x}", static_cast<unsigned char>(c));
        } else {
            uri += c;
        }
    }
    if (mode == Mode::immutable) uri += "?immutable=1";
    int flags = SQLITE_OPEN_URI | (mode == Mode::write ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY);
    sqlite3* handle = nullptr;
    int result = sqlite3_open_v2(uri.c_str(), &handle, flags, nullptr);
    handle_.reset(handle);
    if (result != SQLITE_OK) throw_sqlite(handle, result);
    sqlite3_extended_result_codes(handle, 1);
    sqlite3_busy_timeout(handle, k_busy_milliseconds);
    execute("PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; PRAGMA foreign_keys = ON");
    if (mode == Mode::write) execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL");
}

Statement Database::prepare(std::string_view sql) const {
    sqlite3_stmt* statement = nullptr;
    int result =
        sqlite3_prepare_v2(handle_.get(), sql.data(), static_cast<int>(sql.size()), &statement, nullptr);
    if (result != SQLITE_OK) throw_sqlite(handle_.get(), result);
    return Statement(statement);
}

void Database::execute(const std::string& sql) const {
    int result = sqlite3_exec(handle_.get(), sql.c_str(), nullptr, nullptr, nullptr);
    if (result != SQLITE_OK) throw_sqlite(handle_.get(), result);
}

std::optional<int64_t> Database::integer(std::string_view sql) const {
    Statement statement = prepare(sql);
    if (!statement.step() || statement.is_null(0)) return std::nullopt;
    return statement.integer(0);
}

Transaction::Transaction(const Database& database, Kind kind) : database_(database) {
    database_.execute(kind == Kind::write ? "BEGIN IMMEDIATE" : "BEGIN");
}

Transaction::~Transaction() {
    if (!open_) return;
    try {
        database_.execute("ROLLBACK");
    } catch (const base::Error&) {
        // SQLite has rolled back by itself (full disk, I/O error): there is nothing left to undo.
    }
}

void Transaction::commit() {
    database_.execute("COMMIT");
    open_ = false;
}

}  // namespace cprewind::store

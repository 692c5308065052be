// SQLite's handles with owners, and its errors as ours.
//
// Every failure becomes an Error with SQLite's own text: full disk, read-only, busy and damage each with
// their kind and the next step. A Transaction commits only when told to; its destructor rolls back.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

struct sqlite3;
struct sqlite3_stmt;

namespace cprewind::store {

struct CloseDatabase {
    void operator()(sqlite3* handle) const noexcept;
};
struct FinalizeStatement {
    void operator()(sqlite3_stmt* handle) const noexcept;
};

// A prepared statement. Parameters are bound in order: statement.bind(a).bind(b). It must not outlive its
// database.
class Statement {
 public:
    Statement& bind(std::string_view text);
    Statement& bind(int64_t value);
    Statement& bind(uint64_t value) { return bind(static_cast<int64_t>(value)); }
    Statement& bind_null();

    // Moves to the next row; false at the end.
    bool step();
    // For statements that return no rows: runs it and makes it ready for the next set of parameters.
    void run();
    // Ready for the next set of parameters.
    void reset();

    std::string text(int column) const;
    int64_t integer(int column) const;
    uint64_t natural(int column) const { return static_cast<uint64_t>(integer(column)); }
    bool is_null(int column) const;

 private:
    friend class Database;
    explicit Statement(sqlite3_stmt* handle) : handle_(handle) {}
    int next_parameter() { return ++bound_; }

    std::unique_ptr<sqlite3_stmt, FinalizeStatement> handle_;
    int bound_ = 0;
};

class Database {
 public:
    enum class Mode {
        read,       // nothing is written but SQLite's shared memory for readers
        immutable,  // on a read-only file system: not even that
        write,
    };

    Database() = default;
    // The file must exist. Sets what every connection of ours needs: foreign keys, WAL with full sync,
    // distrust of the schema and of cell sizes, a wait of 30 s for other writers.
    Database(const std::filesystem::path& path, Mode mode);

    Statement prepare(std::string_view sql) const;
    void execute(const std::string& sql) const;
    // The first column of the first row.
    std::optional<int64_t> integer(std::string_view sql) const;

 private:
    std::unique_ptr<sqlite3, CloseDatabase> handle_;
};

class Transaction {
 public:
    enum class Kind {
        read,
        write
    };  // write: BEGIN IMMEDIATE, so that it cannot fail half-way for lack of the lock

    Transaction(const Database& database, Kind kind);
    ~Transaction();
    Transaction(const Transaction&) = delete;
    Transaction& operator=(const Transaction&) = delete;

    void commit();

 private:
    const Database& database_;
    bool open_ = true;
};

}  // namespace cprewind::store

// The tables of `cprewind sql` that the catalog does not keep: threads, sockets, mounts, env, findings, and the views
// containers and vmas. They are made in memory from the images, of those snapshots that the catalog lists, and only when
// the query names them (docs/decisions/0031).
#pragma once

#include <string>

#include "base/fd.h"
#include "cli/command.h"
#include "cli/subject.h"

struct sqlite3;

namespace cprewind::cli {

void make_sql_tables(sqlite3* catalog);

// Fills those that `query` names, from all snapshots of the repository. One that cannot be read is told on standard error.
void fill_sql_tables(Context& context, sqlite3* catalog, const std::string& query);
// Fills all from one, whose row in `snapshots` has that key.
void fill_sql_tables(sqlite3* catalog, const Subject& subject, int64_t snapshot);

// A catalog of one checkpoint that nobody keeps.
struct PassingCatalog {
    Subject subject;
    base::TemporaryDirectory directory;
    std::string path;
};
PassingCatalog make_passing_catalog(const Context& context, const std::string& path);

}  // namespace cprewind::cli

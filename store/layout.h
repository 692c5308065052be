// Every name below the repository's directory, and what each state of it means.
//
//   <repo>/            0700
//     format           which layout this is; written last when a repository is made: without it there is none
//     catalog.db       SQLite in WAL mode; catalog.db-wal and catalog.db-shm come and go with it
//     catalog.db.old   what `rebuild` replaced
//     catalog.db.new   what a `rebuild` that died was making (with -wal, -shm): garbage, removed by the next one
//     journal/         rewinds and snaps under way (engine/journal.h); not looked into here
//     suspended        what `resume` is to bring back (engine/suspend.h); likewise
//     staging/         dumps that memory could not hold, each in a directory that names its maker
//                      (engine/staging.h); not looked into here
//     packs/<id>.pack  one snapshot; pages may lie in the packs of others
//     packs/<id>.kept  what was a snapshot's pack, kept for the pages that others have in it; beside <id>.pack when that
//                      snapshot has been stored once more, until the next removal
//     tmp/<random>.pack  a pack being written; its writer holds flock(LOCK_EX) on it until the commit is over
//
// The life of a snapshot, and what an observer may conclude from what it sees:
//
//   tmp file, locked                      a writer is at work
//   tmp file, not locked                  its writer died: garbage, removed by the next writer
//   pending row `writing`, file locked    a writer is between its pack's sync and its commit
//   pending row `writing`, not locked     its writer died before the commit: row and file (in tmp/ or packs/)
//                                         are garbage, the snapshot never existed
//   row in snapshots                      the snapshot exists, its pack is whole, synced and in packs/
//   pending row `removing`                the snapshot exists no more; its pack is going or gone
//   pack with neither row                 nobody of us put it there
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace cprewind::store {

// History of the repository format (the file `format`); one sentence a version, never renumber.
//   1  packs of 256 KiB blocks, each complete in itself; catalog schema 1
//   2  packs of version 2 beside those of version 1; *.kept
inline constexpr uint32_t k_format_version = 2;

inline constexpr const char* k_format_name = "format";
inline constexpr const char* k_catalog_name = "catalog.db";
inline constexpr const char* k_packs_name = "packs";
inline constexpr const char* k_temporary_name = "tmp";
inline constexpr const char* k_staging_name = "staging";
inline constexpr std::string_view k_pack_suffix = ".pack";
inline constexpr std::string_view k_kept_suffix = ".kept";

struct Layout {
    std::filesystem::path root;

    std::filesystem::path format() const { return root / k_format_name; }
    std::filesystem::path catalog() const { return root / k_catalog_name; }
    std::filesystem::path fresh_catalog() const { return root / (std::string(k_catalog_name) + ".new"); }
    std::filesystem::path packs() const { return root / k_packs_name; }
    std::filesystem::path temporary() const { return root / k_temporary_name; }
    std::filesystem::path staging() const { return root / k_staging_name; }
    // `id` has passed is_snapshot_id().
    std::filesystem::path pack(std::string_view id) const { return packs() / pack_name(id); }

    std::filesystem::path kept_pack(std::string_view id) const {
        return packs() / (std::string(id) + std::string(k_kept_suffix));
    }

    static std::string pack_name(std::string_view id) { return std::string(id) + std::string(k_pack_suffix); }
};

// 64 lower-case hexadecimal digits: safe as a file name whoever wrote it.
inline bool is_snapshot_id(std::string_view text) {
    return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

}  // namespace cprewind::store

// The repository: a directory of packs and a catalog that keeps snapshots and gives them back unchanged.
//
// Its life on disk, its states and what an observer may conclude: docs/store-format.md and store/layout.h.
// In short: a snapshot exists from the moment its catalog row is committed, which is one SQLite commit
// made after its pack is whole, synced and in place; it stops existing when the row moves to `removing`. A
// crash between any two steps leaves rows and files that the next writer tidies up and that `verify` does not
// complain about.
//
// Readers never wait; writers of different snapshots work side by side and queue only for the two short
// catalog transactions. Everything is 0600/0700.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "images/image_source.h"
#include "store/record.h"

namespace cprewind::store {

enum class OpenMode {
    read,    // must exist; nothing is created or tidied
    write,   // must exist; leftovers of dead writers are removed
    create,  // like write, made when absent
};

// Called now and then with bytes done and bytes in all, from the calling thread.
using Progress = std::function<void(uint64_t done, uint64_t total)>;

// One thing that is wrong with the repository.
struct Fault {
    std::string snapshot;  // name ("web@3") or empty
    std::string message;
    bool harmless = false;  // a leftover that the next writer removes
};

enum class VerifyMode {
    structure,  // every pack is there, its index is what was stored and refers to what exists; no page is read
    data,       // every stored byte as well
};

struct VerifyReport {
    uint64_t snapshots = 0;
    uint64_t bytes = 0;  // stored bytes that were read and checked
    std::vector<Fault> faults;
};

// Where the bytes of a file lay in the memory of processes, or in whatever else they are looked for again: the hint by
// which the same page is found in the parent. Anything may be said; it decides about space only.
struct PageAddresses {
    struct Run {
        std::string space;     // the name of an address space
        uint64_t address = 0;  // in it
        uint64_t offset = 0;   // in the file, a multiple of 4096
        uint64_t bytes = 0;
    };
    std::vector<Run> runs = {};  // empty: the file's own name and offsets

    // Instead, for a file that knows its predecessor: what is at `offset` was at `there` of the parent's file of the same
    // name. Multiples of 4096 or no use.
    struct Before {
        uint64_t offset = 0;
        uint64_t bytes = 0;
        uint64_t there = 0;
        bool same = false;  // sure to be the same, page by page: not read. Here alone a lie would do harm
    };
    std::vector<Before> before = {};
};

// A snapshot being written. Destroyed before commit(), it leaves nothing behind.
class SnapshotWriter {
 public:
    virtual ~SnapshotWriter() = default;
    // Adds a file under `name` ("images/pstree.img", "layer.data", "container.json"). Data are read from
    // `file` by several threads' worth of work but through one thread at a time. All-zero blocks take no
    // space.
    virtual void add(std::string_view name, const images::ImageFile& file, const Progress& progress = {},
                     const PageAddresses& addresses = {}) = 0;
    virtual void add(std::string_view name, std::string_view content) = 0;
    // Makes the snapshot exist, durably, and moves the container's head to it. Returns its record.
    virtual SnapshotRecord commit(const SnapshotInfo& info, const CatalogRows& rows) = 0;
};

class Repository {
 public:
    virtual ~Repository() = default;

    // Oldest first; all containers, or the one whose name or id (prefix of at least 4) is given.
    virtual std::vector<SnapshotRecord> list(std::optional<std::string_view> container = {}) const = 0;

    // Finds the snapshot that `reference` names: web@3, web@latest, web (the same), web~2, web@{10m ago},
    // web@{time}, a tag, an id or a unique prefix of one (4 digits at least). Errors: not_found with near
    // names, ambiguous with the candidates, usage when it cannot be read.
    virtual SnapshotRecord resolve(std::string_view reference, base::WallTime now) const = 0;

    // The files of a snapshot. Every block is checked against its digest when read; a mismatch is an
    // Error (damaged) that names the snapshot. Stays readable when the snapshot is removed meanwhile.
    virtual std::unique_ptr<images::ImageSource> open(const SnapshotRecord& record) const = 0;

    // What is the same as in `parent`, or differs little, takes little space and time.
    virtual std::unique_ptr<SnapshotWriter> begin(const std::optional<SnapshotId>& parent = {}) = 0;

    // The snapshot that the container's present state descends from: its last snap or rewind.
    virtual std::optional<SnapshotId> head(std::string_view container_id) const = 0;
    virtual void set_head(std::string_view container_id, const SnapshotId& id) = 0;

    virtual void tag(const SnapshotId& id, const std::string& tag) = 0;

    // Removes all of them or, when one is not there, none. Returns the bytes given back: what other snapshots draw from
    // their packs stays. While a snapshot is being written nothing is given back; the next writer does it.
    virtual uint64_t remove(const std::vector<SnapshotId>& ids) = 0;
    uint64_t remove(const SnapshotId& id) { return remove(std::vector{id}); }

    // Checks one snapshot, or all with the catalog and the directory. Damage is in the report, not an Error; what several
    // snapshots need is a fault of each.
    virtual VerifyReport verify(std::optional<SnapshotId> only, const Progress& progress = {},
                                VerifyMode mode = VerifyMode::data) const = 0;

    virtual const std::filesystem::path& path() const = 0;
    // Absolute path of the catalog, for read-only SQL.
    virtual std::filesystem::path catalog_path() const = 0;
    // A directory beside the packs for dumps that memory cannot hold. Its contents are the caller's to clear
    // away.
    virtual std::filesystem::path staging_path() const = 0;
};

// Opens the repository at `path`. Errors: not_found (with how to make one), unsupported (newer format: which,
// and which is understood), permission, damaged, io.
std::unique_ptr<Repository> open_repository(const std::filesystem::path& path, OpenMode mode);

}  // namespace cprewind::store

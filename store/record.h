// What the repository knows about one snapshot, as plain values. `log` prints these; the rest of a snapshot
// is in its pack.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/text.h"

namespace cprewind::store {

// 64 hex digits: the SHA-256 of the pack's index, which holds the digest of every block and the parent's id.
// So an id names its content, and a timeline is a chain.
using SnapshotId = std::string;

enum class SnapshotKind {
    manual = 0,  // stored as numbers: never renumber
    safety = 1,  // taken by `rewind` before it touches the container
};

// What the taker of a snapshot tells.
struct SnapshotInfo {
    SnapshotKind kind = SnapshotKind::manual;
    std::string container_id;
    std::string container_name;
    std::string container_image;  // as the user named it
    std::optional<SnapshotId> parent;
    base::WallTime taken_at{};
    std::chrono::nanoseconds stall{};  // from freeze to resume
    std::chrono::nanoseconds wall{};   // from the command to the end of the dump
    std::string message;
    std::vector<std::string> tags;
    uint64_t process_count = 0;
    uint64_t memory_bytes = 0;  // pages that the dump holds
    uint64_t layer_bytes = 0;   // file data of the writable layer
    std::string engine;         // "Docker 28.5.2"
    std::string criu;           // "4.2.1"
    std::string architecture;   // "x86_64"
};

struct SnapshotRecord {
    SnapshotId id;
    uint64_t number = 0;  // the 3 of web@3: counts per container name, from 1, never used twice
    SnapshotInfo info;
    uint64_t raw_bytes = 0;     // of all files of the snapshot
    uint64_t stored_bytes = 0;  // of its pack

    std::string name() const { return info.container_name + "@" + std::to_string(number); }
};

// Rows for the catalog's tables of what was inside, for questions across snapshots (`cprewind sql`). The
// taker of the snapshot fills them from the model; the store does not look into images.
struct ProcessRow {
    int64_t pid = 0;
    int64_t parent_pid = 0;
    std::string command;    // comm
    std::string arguments;  // command line, NUL-separated as in memory
    std::string executable;
    std::string state;
    uint64_t threads = 0;
    uint64_t resident_bytes = 0;
};
struct FdRow {
    int64_t pid = 0;
    int64_t fd = 0;
    std::string kind;    // "file", "pipe", "tcp", …
    std::string target;  // path, address, or a description
};
struct MappingRow {
    int64_t pid = 0;
    uint64_t start = 0;
    uint64_t end = 0;
    std::string protection;  // "rw-p"
    std::string kind;        // "heap", "stack", "file", "anonymous", …
    std::string path;
    uint64_t dumped_bytes = 0;
};
struct FileRow {
    std::string path;
    std::string type;
    uint64_t size = 0;
    int64_t mtime_ns = 0;
    std::string digest;  // hex, or empty
};
struct CatalogRows {
    std::vector<ProcessRow> processes;
    std::vector<FdRow> fds;
    std::vector<MappingRow> mappings;
    std::vector<FileRow> files;
};

}  // namespace cprewind::store

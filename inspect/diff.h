// What changed between two checkpoints. `a` is the earlier one by convention; nothing depends on it.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "inspect/identity.h"
#include "inspect/mem.h"
#include "inspect/moment.h"

namespace cprewind::inspect {

// --- processes ---

// The same pid, and no start times that say it is another process (`reused`, identity.h): the same process. Whether it
// called exec is judged by what only exec changes: where the kernel put its stack and its arguments. Without start times
// (dumps of others) a process that took a pid over and one that called exec cannot be told apart.
enum class ProcessFate { same, added, gone, execed };

// One thing that is different, in words that are the same in text and JSON: field "state", "uid", "cwd", ….
struct FieldChange {
    std::string field;
    std::string before;
    std::string after;
};

struct ProcessChange {
    images::DumpPid pid;
    ProcessFate fate = ProcessFate::same;
    std::string comm;  // after, or before when gone
    std::string executable;
    std::vector<FieldChange> changes;  // same and execed
    images::DumpPid ppid;
    std::vector<std::string> arguments;  // as the program had left them in memory; after, or before when gone
    std::vector<std::string> environment;  // likewise
};

struct ProcessDiff {
    std::vector<ProcessChange> changes;    // without processes that are just the same
    std::vector<ProcessChange> same_ones;  // these
    uint64_t unchanged = 0;
    images::Findings findings;

    bool same() const { return changes.empty(); }
};

// Command lines and environments are read from the dumped memory, as the programs had left them.
ProcessDiff diff_processes(Moment a, Moment b, const PidSet& reused = {});

// A thread of which every register is as it was: it has not run, or came back to the very same place. Threads
// whose registers neither side tells are not judged.
struct StillThread {
    images::DumpPid pid;
    images::DumpPid tid;
    std::string comm;
    uint64_t instruction = 0;
    std::string where;  // the mapping that holds the instruction and the offset in its file: "/bin/x+0x1234"
};

struct ThreadDiff {
    std::vector<StillThread> still;
    uint64_t moved = 0;
};

// Of processes that are the same on both sides; for those who look for what hangs.
ThreadDiff diff_threads(const images::Checkpoint& a, const images::Checkpoint& b, const PidSet& reused = {});

// --- what the processes live in ---

// Host name, mounts, who shares which namespace with whom, and the container as Docker described it (container.json, Docker's inspect answer; null where a
// side has none: then it is not compared).
struct SystemDiff {
    std::vector<FieldChange>
        changes;  // "hostname", "mount /data", "namespace net of process 7", "container Config.Image", …
    uint64_t mounts_unchanged = 0;
    bool container_compared = false;
    images::Findings findings;

    bool same() const { return changes.empty(); }
};

SystemDiff diff_system(Moment a, Moment b, const std::string* container_a, const std::string* container_b,
                       const PidSet& reused = {});

// --- file descriptors ---

enum class FdFate { opened, closed, changed };

struct FdChange {
    images::DumpPid pid;
    std::string comm;
    uint32_t fd = 0;
    FdFate fate = FdFate::changed;
    images::FileKind kind = images::FileKind::unknown;
    std::string target;                // after, or before when closed
    std::vector<FieldChange> changes;  // changed: "target", "position", "queue", …
};

struct FdDiff {
    std::vector<FdChange> changes;    // of processes that exist on both sides
    std::vector<FdChange> same_ones;  // likewise, with no change
    // Opened ones of processes that have come, closed ones of those that are gone: no difference of their own.
    std::vector<FdChange> with_processes;
    uint64_t unchanged = 0;
    images::Findings findings;

    bool same() const { return changes.empty(); }
};

// `renumbered`: the kernel's numbers of pipes and sockets say nothing, since a restore lies between the two.
FdDiff diff_fds(Moment a, Moment b, const PidSet& reused = {}, bool renumbered = false);

// --- memory ---

struct PageChanges {
    uint64_t equal = 0;
    uint64_t changed = 0;
    uint64_t added = 0;    // had no content of its own (zero, file, unmapped), has some now
    uint64_t gone = 0;     // had content, is unmapped or back to the file's now
    uint64_t zeroed = 0;   // had content, is all zero now
    uint64_t unknown = 0;  // not at hand on one side

    PageChanges& operator+=(const PageChanges& other);
    uint64_t different() const { return changed + added + gone + zeroed; }
};

enum class MappingFate { added, removed, grown, shrunk, protection, replaced, moved };

struct MappingChange {
    MappingFate fate = MappingFate::added;
    std::string kind;
    std::string path;
    images::AddressRange before;  // 0-0 when added
    images::AddressRange after;   // 0-0 when removed
    std::string protection_before;
    std::string protection_after;
};

// Changed pages of one mapping (of `b`, or of `a` when it is gone).
struct MappingPages {
    images::AddressRange range;
    std::string kind;
    std::string path;
    PageChanges pages;
};

struct ProcessMemoryDiff {
    images::DumpPid pid;
    std::string comm;
    bool only_in_a = false;
    bool only_in_b = false;
    uint64_t page_size = 0;
    PageChanges pages;
    std::vector<MappingPages> by_mapping;  // only those with a page that differs
    std::vector<MappingChange> mappings;

    bool same() const { return pages.different() == 0 && pages.unknown == 0 && mappings.empty(); }
};

struct MemoryDiff {
    std::vector<ProcessMemoryDiff>
        processes;       // all, also those that are the same; shared memory comes once, below
    PageChanges shared;  // objects of shared memory, each counted once
    PageChanges total;
    uint64_t total_different_bytes = 0;
    images::Findings findings;

    bool same() const;
};

// Called now and then with bytes compared and bytes in all.
using Progress = std::function<void(uint64_t done, uint64_t total)>;

enum class PageFate { changed, added, gone, zeroed };

// One page that differs. Contents are valid during the call only, and empty where that side has none of its own.
struct PagePair {
    images::DumpPid pid;
    std::optional<uint64_t> object;            // shared memory: its number, on the later side if it is there
    const images::Mapping* mapping = nullptr;  // of the later side, or of the earlier; null for shared memory
    uint64_t address = 0;                      // on the later side; shared memory: offset in the object
    uint64_t bytes = 0;
    PageFate fate = PageFate::changed;
    std::span<const std::byte> before;
    std::span<const std::byte> after;
};
using PageVisitor = std::function<void(const PagePair&)>;

struct MemoryDiffOptions {
    std::optional<images::DumpPid> pid;  // only this process, and the shared memory it maps
    PidSet reused = {};                  // pids that are other processes on the later side
    PageVisitor visit;                   // called for each page that differs, by process and address
    Progress progress;
};

// Why the memory of two checkpoints cannot be compared, or nothing.
std::string unlike(Moment a, Moment b);

// Compares content page by page, streaming: memory needed does not grow with the checkpoints'.
MemoryDiff diff_memory(Moment a, Moment b, const MemoryDiffOptions& options = {});

}  // namespace cprewind::inspect

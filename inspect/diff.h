// What changed between two checkpoints. `a` is the earlier one by convention; nothing depends on it.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "inspect/mem.h"
#include "inspect/moment.h"

namespace cprewind::inspect {

// --- processes ---

// A checkpoint has no start times, so identity is judged by what a process cannot change without exec: where
// the kernel put its stack and its arguments. Same pid and same places: the same process. Same pid, other
// places: it called exec, or the pid was given to another process, which the images cannot tell apart.
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
};

struct ProcessDiff {
    std::vector<ProcessChange> changes;  // without processes that are just the same
    uint64_t unchanged = 0;

    bool same() const { return changes.empty(); }
};

ProcessDiff diff_processes(const images::Checkpoint& a, const images::Checkpoint& b);

// --- file descriptors ---

enum class FdFate { opened, closed, changed };

struct FdChange {
    images::DumpPid pid;
    std::string comm;
    uint32_t fd = 0;
    FdFate fate = FdFate::changed;
    images::FileKind kind = images::FileKind::unknown;
    std::string target;                // after, or before when closed
    std::vector<FieldChange> changes;  // changed: "target", "position", "flags", "size"
};

struct FdDiff {
    std::vector<FdChange> changes;  // of processes that exist on both sides
    uint64_t unchanged = 0;

    bool same() const { return changes.empty(); }
};

FdDiff diff_fds(const images::Checkpoint& a, const images::Checkpoint& b);

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

enum class MappingFate { added, removed, grown, shrunk, protection, replaced };

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

// Compares content page by page, streaming: memory needed does not grow with the checkpoints'.
MemoryDiff diff_memory(Moment a, Moment b, const Progress& progress = {});

}  // namespace cprewind::inspect

// What each process had mapped, and how much of it the checkpoint holds.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "inspect/moment.h"

namespace cprewind::inspect {

// Pages by where their content is. Their sum is the size of the mapping.
struct PageCounts {
    uint64_t present = 0;  // in this dump (or a parent that could be read)
    uint64_t zero = 0;     // nothing but zeros, not stored
    uint64_t file = 0;     // in the mapped file, not stored
    uint64_t kernel = 0;   // the kernel's own, never stored
    uint64_t absent = 0;   // should be somewhere, but is not at hand: parent, lazy, or lost

    PageCounts& operator+=(const PageCounts& other);
    uint64_t total() const { return present + zero + file + kernel + absent; }
};

// What of it takes memory, as far as a dump can tell: CRIU reads swapped pages in before it writes them, so they count
// as resident, and says nothing of pages that are only in the page cache.
struct MemoryAccount {
    uint64_t private_bytes = 0;  // of the process alone
    uint64_t shared_bytes = 0;   // of shared memory objects and memfds
    uint64_t proportional_bytes =
        0;  // private, and of the shared its part: bytes / processes that map the object

    MemoryAccount& operator+=(const MemoryAccount& other);
    uint64_t resident_bytes() const { return private_bytes + shared_bytes; }
};

struct MemRow {
    uint64_t start = 0;
    uint64_t end = 0;
    std::string protection;  // "rw-p"
    images::MappingKind kind = images::MappingKind::unknown;
    std::string path;
    uint64_t offset = 0;
    PageCounts pages;
    uint64_t dumped_bytes = 0;  // of the present pages
    MemoryAccount account;
    std::vector<std::string> advice;  // "dontfork", …: of madvise(2)
};

struct ProcessMemory {
    images::DumpPid pid;
    std::string comm;
    uint64_t page_size = 0;
    std::vector<MemRow> rows;
    PageCounts pages;
    MemoryAccount account;
    uint64_t mapped_bytes = 0;
    uint64_t dumped_bytes = 0;
};

struct MemView {
    std::vector<ProcessMemory> processes;  // tree order, without zombies
    images::Findings findings;
};

MemView list_memory(Moment moment);

}  // namespace cprewind::inspect

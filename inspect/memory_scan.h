// Looking at all chosen memory of all processes once, in windows that several threads share.
//
// A window has a body, which is its own, and around it what is needed to see what crosses its borders: whoever looks
// reports what begins in the body. Memory is bounded by the size of a window times the windows under way.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "inspect/memory_walk.h"

namespace cprewind::inspect {

struct ScanOptions {
    MemoryFilter filter;
    // Whether files of the source may be read by several threads, each with its own handle: not those of a compressed
    // archive, which goes forward only.
    bool parallel_reads = true;
    std::function<void(uint64_t bytes)> progress{};  // looked at so far
};

// What was looked at, and what could not be.
struct ScanSummary {
    uint64_t processes = 0;
    uint64_t bytes = 0;
    uint64_t zero_bytes = 0;
    std::vector<UnreadMemory> unread;
    bool complete = true;  // false: it was told to stop
};

struct MemoryWindow {
    const images::Process& process;
    const MemoryExtent& extent;
    uint64_t begin = 0;  // of `bytes`
    uint64_t body_begin = 0;
    uint64_t body_end = 0;
    std::span<const std::byte> bytes{};
};

struct WindowWork {
    uint64_t before = 0;  // bytes wanted around the body, as far as the extent goes
    uint64_t after = 0;
    // On any thread; `worker` is one thread's, `slot` the window's until it is finished (below OrderedWork::k_slots).
    std::function<void(size_t worker, size_t slot, const MemoryWindow&)> look;
    // In order, one at a time; the window has no bytes any more. False: enough.
    std::function<bool(size_t slot, const MemoryWindow&)> finish;
};

ScanSummary scan_memory(Moment moment, const ScanOptions& options, const WindowWork& work,
                        images::Findings& findings);

}  // namespace cprewind::inspect

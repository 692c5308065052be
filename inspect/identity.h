// Which processes of two moments are the same. A pid alone does not tell: the kernel gives it to another process once
// its owner has gone. The images have no start times, but a snapshot of ours has them beside the images.
#pragma once

#include <map>
#include <set>

#include "images/checkpoint.h"

namespace cprewind::inspect {

// When each process started, in the kernel's ticks since boot. Empty: not known.
using StartTimes = std::map<images::DumpPid, uint64_t>;
using PidSet = std::set<images::DumpPid>;

// The pids that belong to another process on the later side. A restore gives every process a new start time, so nothing
// is said of two moments between which the container was restored: then its first process has two as well.
inline PidSet reused_pids(const StartTimes& a, const StartTimes& b) {
    PidSet reused;
    bool one_run = !a.empty() && !b.empty() && *a.begin() == *b.begin();
    if (!one_run) return reused;
    for (const auto& [pid, started] : a) {
        auto other = b.find(pid);
        if (other != b.end() && other->second != started) reused.insert(pid);
    }
    return reused;
}

// Whether the container was restored between the two: then pipes and sockets have other numbers without being others.
inline bool restored_between(const StartTimes& a, const StartTimes& b) {
    return !a.empty() && !b.empty() && *a.begin() != *b.begin();
}

// The process `pid` of the other moment, if it is the same one.
inline const images::Process* find_same(const images::Checkpoint& other, images::DumpPid pid,
                                        const PidSet& reused) {
    return reused.contains(pid) ? nullptr : other.find_process(pid);
}

}  // namespace cprewind::inspect

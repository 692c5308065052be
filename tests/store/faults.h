// A file layer that fails: in the program that links it, each call which changes the file system (SQLite's too) is a
// numbered step, at which the process can die, the call can fail, or the power can go.
//
// It stands in for libc: an executable's own functions take precedence over those of shared libraries.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

namespace cprewind::store::test {

enum class FaultKind {
    none,         // only counts
    kill,         // SIGKILL instead of the step
    fail,         // the step fails, as a passing fault does: no space (writes), I/O error (syncs)
    fail_on,      // this step and all after it fail
    power,        // what was not synced by then is lost
    power_mixed,  // of what was not synced some is lost: names, whole files, single blocks, by chance
};

const char* name_of(FaultKind kind);

// The last step of all: the body has returned, so what it did was acknowledged.
inline constexpr const char* k_end_step = "end";

struct FaultOutcome {
    size_t steps = 0;       // that were reached
    bool struck = false;    // the fault's step was reached
    bool threw = false;     // the body ended by an exception
    bool died = false;      // and not of the fault
    std::string last = {};  // the last step's call

    bool acknowledged() const { return last == k_end_step; }
};

// Runs `body` in a child whose steps below `root` count; the fault comes at step `at` (from 1). For the power kinds
// `root` is replaced by what a disk would hold afterwards; `seed` decides what chance does.
FaultOutcome run_with_fault(const std::filesystem::path& root, FaultKind kind, size_t at, uint64_t seed,
                            const std::function<void()>& body);

}  // namespace cprewind::store::test

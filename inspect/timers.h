// Everything that was to go off: setitimer(2), timer_create(2), and timerfds with who has them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "inspect/holders.h"
#include "inspect/moment.h"

namespace cprewind::inspect {

struct TimerRow {
    std::string kind;                    // "itimer", "posix", "timerfd"
    std::optional<images::DumpPid> pid;  // timerfds: see holders
    std::string comm;
    std::optional<uint32_t> id;  // posix: its own; timerfd: of the file
    std::string clock;           // "real", "CLOCK_MONOTONIC"
    uint64_t left_ns = 0;        // 0: not armed
    uint64_t interval_ns = 0;    // 0: once
    std::string signal;          // "" none
    std::string notify;          // posix
    std::optional<int32_t> thread;
    std::optional<uint64_t> value;    // posix
    std::optional<uint64_t> expired;  // timerfd: expirations not yet read; posix: overruns
    std::vector<Holder> holders;      // timerfd
};

// Interval timers that are not armed are left out: every process has three.
std::vector<TimerRow> list_timers(const images::Checkpoint& checkpoint);

}  // namespace cprewind::inspect

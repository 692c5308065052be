// What a core image says of a process and its threads beyond the basics of model.h: signals, timers, where a thread
// belongs. Plain values, filled by task_details.cpp.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace cprewind::criu {
class core_entry;
}

namespace cprewind::images {

// A disposition of sigaction(2).
struct SignalAction {
    uint32_t signal = 0;
    uint64_t handler = 0;  // 0: default, 1: ignored, else an address
    uint64_t flags = 0;    // SA_*
    uint64_t restorer = 0;
    uint64_t mask = 0;  // bit n - 1: signal n
};

// A signal that was sent and not yet taken. Which of the optional parts there are depends on `code`, as sigaction(2)
// tells.
struct PendingSignal {
    uint32_t signal = 0;
    int32_t error = 0;
    int32_t code = 0;
    std::optional<uint32_t> pid, uid;  // of the sender
    std::optional<uint64_t> value;     // of sigqueue(3), or of a timer
    std::optional<uint64_t> address;   // of a fault
    std::string raw;                   // the kernel's siginfo_t
};

struct AlternateStack {
    uint64_t address = 0;
    uint64_t size = 0;
    uint32_t flags = 0;  // SS_*
};

// A timer of setitimer(2).
struct IntervalTimer {
    const char* name = "";  // "real", "virtual", "profiling"
    uint64_t interval_us = 0;
    uint64_t left_us = 0;  // 0: not armed
};

// A timer of timer_create(2).
struct PosixTimer {
    uint32_t id = 0;
    uint32_t clock = 0;   // CLOCK_*
    uint32_t signal = 0;  // 0 unless `notify` is SIGEV_SIGNAL or SIGEV_THREAD_ID
    uint32_t notify = 0;  // SIGEV_*
    uint64_t value = 0;
    uint32_t overrun = 0;
    uint64_t interval_ns = 0;
    uint64_t left_ns = 0;  // 0: not armed
    std::optional<int32_t> thread;
};

struct ThreadDetails {
    std::vector<PendingSignal> pending;
    std::optional<AlternateStack> alternate_stack;
    std::optional<uint32_t> parent_death_signal;
    std::optional<uint32_t> cgroup_set;      // id in cgroup.img
    std::optional<uint32_t> seccomp_filter;  // index in seccomp.img of the last one; others precede it
    uint64_t robust_list = 0;
    uint64_t clear_tid = 0;
};

struct TaskDetails {
    std::vector<SignalAction> actions;   // by signal
    std::vector<PendingSignal> pending;  // of the process as a whole
    std::vector<IntervalTimer> interval_timers;
    std::vector<PosixTimer> posix_timers;
    uint32_t personality = 0;
    std::optional<uint32_t> stop_signal;
    std::optional<bool> child_subreaper;
};

ThreadDetails read_thread_details(const criu::core_entry& core);
TaskDetails read_task_details(const criu::core_entry& core);

// The kernel's siginfo_t of a 64-bit machine. Whatever is too short leaves its parts unset.
PendingSignal parse_siginfo(const std::string& raw);

// Of seconds and a part of `unit` a second; what does not fit is UINT64_MAX.
uint64_t join_time(uint64_t seconds, uint64_t part, uint64_t unit);

}  // namespace cprewind::images

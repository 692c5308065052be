// Every thread: what it was doing, and how it is scheduled.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "inspect/moment.h"

namespace cprewind::inspect {

// The system call that a thread was in, from its registers (x86_64) or the instruction it stands at (aarch64).
struct SystemCall {
    uint64_t number = 0;
    std::string name;                 // "" when the number has none
    std::vector<uint64_t> arguments;  // the six registers, used or not
    std::string target;               // what the first argument names, when it is a descriptor or a process
};

struct ThreadRow {
    images::DumpPid pid;
    images::DumpPid tid;
    std::string comm;
    images::ProcessState state = images::ProcessState::unknown;
    std::vector<images::Register> registers;
    std::optional<uint64_t> program_counter, stack_pointer;
    std::string code;  // what is mapped where it stands: "/bin/busybox+0x1234", "heap+0x10"
    std::optional<SystemCall> system_call;  // absent: it was in its own code, or nothing tells
    std::optional<uint64_t> blocked_signals;
    std::vector<images::PendingSignal> pending;
    std::optional<uint32_t> sched_policy, sched_priority, seccomp_mode;
    std::optional<int32_t> nice;
};

std::vector<ThreadRow> list_threads(const images::Checkpoint& checkpoint);

}  // namespace cprewind::inspect

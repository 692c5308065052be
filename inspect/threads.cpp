#include "inspect/threads.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <string_view>

#include "inspect/syscall_names.h"

namespace cprewind::inspect {

namespace {

using images::Architecture;

// System calls whose first argument is a descriptor, of those that a thread can wait in.
const std::set<std::string_view> k_on_descriptor = {
    "read",        "write",        "pread64",  "pwrite64",   "readv",     "writev",
    "preadv",      "pwritev",      "recvfrom", "sendto",     "recvmsg",   "sendmsg",
    "recvmmsg",    "sendmmsg",     "accept",   "accept4",    "connect",   "epoll_wait",
    "epoll_pwait", "epoll_pwait2", "ioctl",    "fcntl",      "flock",     "fsync",
    "fdatasync",   "sendfile",     "splice",   "getdents64", "signalfd4", "io_uring_enter"};
const std::set<std::string_view> k_on_process = {"wait4", "kill", "tgkill", "waitid"};

struct CallRegisters {
    const char* number;
    const char* arguments[6];
};
constexpr CallRegisters k_x86_64 = {"orig_rax", {"rdi", "rsi", "rdx", "r10", "r8", "r9"}};

// -1 in orig_rax: not in a system call. The value of a 64-bit register, so also its 32-bit form.
bool is_no_call(uint64_t number) {
    return static_cast<int64_t>(number) < 0 || number > 0xffff;
}

std::string target_of(const images::Checkpoint& checkpoint, const images::Process& process,
                      const SystemCall& call) {
    if (call.arguments.empty()) return {};
    auto first = static_cast<uint32_t>(call.arguments.front());
    if (k_on_process.contains(call.name)) {
        return static_cast<int32_t>(first) == -1 ? "any child"
                                                 : fmt::format("process {}", static_cast<int32_t>(first));
    }
    if (!k_on_descriptor.contains(call.name)) return {};
    for (const images::FileDescriptor& descriptor : process.fds) {
        if (descriptor.fd != first) continue;
        const images::File* file = checkpoint.find_file(descriptor.file_id);
        return file != nullptr ? file->description : "?";
    }
    return "not open";
}

std::optional<SystemCall> find_call(const images::Checkpoint& checkpoint, const images::Process& process,
                                    const images::Thread& thread) {
    if (checkpoint.architecture != Architecture::x86_64) return std::nullopt;
    auto number = thread.register_named(k_x86_64.number);
    if (!number || is_no_call(*number)) return std::nullopt;
    SystemCall call;
    call.number = *number;
    const char* name = syscall_name(checkpoint.architecture, *number);
    if (name != nullptr) call.name = name;
    for (const char* argument : k_x86_64.arguments)
        call.arguments.push_back(thread.register_named(argument).value_or(0));
    call.target = target_of(checkpoint, process, call);
    return call;
}

std::string code_at(const images::Process& process, uint64_t address) {
    auto after = std::upper_bound(process.mappings.begin(), process.mappings.end(), address,
                                  [](uint64_t a, const images::Mapping& m) { return a < m.start; });
    if (after == process.mappings.begin() || std::prev(after)->end <= address) return "not mapped";
    const images::Mapping& mapping = *std::prev(after);
    std::string name = mapping.path.empty() ? name_of(mapping.kind) : mapping.path;
    return fmt::format("{}+{:#x}", name, address - mapping.start + mapping.offset);
}

}  // namespace

std::vector<ThreadRow> list_threads(const images::Checkpoint& checkpoint) {
    std::vector<ThreadRow> rows;
    for (const images::Process& process : checkpoint.processes) {
        for (const images::Thread& thread : process.threads) {
            ThreadRow row;
            row.pid = process.pid;
            row.tid = thread.tid;
            row.comm = thread.comm.empty() ? process.comm : thread.comm;
            row.state = process.state;
            row.registers = thread.registers;
            row.program_counter = thread.register_named("rip");
            if (!row.program_counter) row.program_counter = thread.register_named("pc");
            row.stack_pointer = thread.register_named("rsp");
            if (!row.stack_pointer) row.stack_pointer = thread.register_named("sp");
            bool alive = process.state != images::ProcessState::zombie;
            if (row.program_counter && alive) row.code = code_at(process, *row.program_counter);
            if (alive) row.system_call = find_call(checkpoint, process, thread);
            row.blocked_signals = thread.blocked_signals;
            row.pending = thread.details.pending;
            row.sched_policy = thread.sched_policy;
            row.sched_priority = thread.sched_priority;
            row.seccomp_mode = thread.seccomp_mode;
            row.nice = thread.nice;
            rows.push_back(std::move(row));
        }
    }
    return rows;
}

}  // namespace cprewind::inspect

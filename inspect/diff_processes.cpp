#include <fmt/format.h>
#include <fmt/ranges.h>

#include "inspect/diff.h"

namespace cprewind::inspect {

namespace {

using images::Process;

// What exec chooses anew, at random places, and nothing else moves.
bool same_program(const Process& a, const Process& b) {
    if (a.mappings.empty() || b.mappings.empty()) return a.executable == b.executable;
    return a.stack_start == b.stack_start && a.arguments.start == b.arguments.start &&
           a.code_start == b.code_start;
}

void compare(std::vector<FieldChange>& changes, const char* field, const std::string& before,
             const std::string& after) {
    if (before != after) changes.push_back({field, before, after});
}

void compare(std::vector<FieldChange>& changes, const char* field, uint64_t before, uint64_t after) {
    if (before != after) changes.push_back({field, std::to_string(before), std::to_string(after)});
}

std::string owner_text(const Process& process) {
    if (!process.credentials) return "unknown";
    const images::Credentials& c = *process.credentials;
    return fmt::format("uid {} {} {} {}, gid {} {} {} {}, groups {}", c.uid, c.euid, c.suid, c.fsuid, c.gid,
                       c.egid, c.sgid, c.fsgid, fmt::join(c.groups, " "));
}

std::string capability_text(const Process& process) {
    if (!process.credentials) return "unknown";
    const images::Credentials& c = *process.credentials;
    return fmt::format("effective {:#x}, permitted {:#x}, inheritable {:#x}, bounding {:#x}, ambient {:#x}",
                       c.cap_effective, c.cap_permitted, c.cap_inheritable, c.cap_bounding, c.cap_ambient);
}

std::string thread_text(const Process& process) {
    std::vector<uint32_t> tids;
    for (const images::Thread& thread : process.threads) tids.push_back(thread.tid.value);
    return fmt::format("{}", fmt::join(tids, " "));
}

std::vector<FieldChange> compare_processes(const Process& a, const Process& b) {
    std::vector<FieldChange> changes;
    compare(changes, "state", images::name_of(a.state), images::name_of(b.state));
    compare(changes, "exit_code", a.exit_code, b.exit_code);
    compare(changes, "ppid", a.ppid.value, b.ppid.value);
    compare(changes, "pgid", a.pgid.value, b.pgid.value);
    compare(changes, "sid", a.sid.value, b.sid.value);
    compare(changes, "comm", a.comm, b.comm);
    compare(changes, "executable", a.executable, b.executable);
    compare(changes, "cwd", a.cwd, b.cwd);
    compare(changes, "root", a.root, b.root);
    compare(changes, "owner", owner_text(a), owner_text(b));
    compare(changes, "capabilities", capability_text(a), capability_text(b));
    compare(changes, "threads", thread_text(a), thread_text(b));
    return changes;
}

}  // namespace

ProcessDiff diff_processes(const images::Checkpoint& a, const images::Checkpoint& b) {
    ProcessDiff diff;
    for (const Process& before : a.processes) {
        if (b.find_process(before.pid) != nullptr) continue;
        diff.changes.push_back({before.pid, ProcessFate::gone, before.comm, before.executable, {}});
    }
    for (const Process& after : b.processes) {
        const Process* before = a.find_process(after.pid);
        if (before == nullptr) {
            diff.changes.push_back({after.pid, ProcessFate::added, after.comm, after.executable, {}});
            continue;
        }
        // A zombie has lost the memory by which it could be told, but its pid is still its own.
        bool same = same_program(*before, after) || after.state == images::ProcessState::zombie;
        auto changes = compare_processes(*before, after);
        if (same && changes.empty()) {
            ++diff.unchanged;
        } else {
            diff.changes.push_back({after.pid, same ? ProcessFate::same : ProcessFate::execed, after.comm,
                                    after.executable, std::move(changes)});
        }
    }
    return diff;
}

}  // namespace cprewind::inspect

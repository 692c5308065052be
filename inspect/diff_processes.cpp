// Processes of two checkpoints side by side: what a process is, what it may do and what it was started with.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>

#include "base/text.h"
#include "inspect/diff.h"
#include "inspect/ps.h"

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

std::string limit_text(uint64_t value) {
    return value == UINT64_MAX ? "unlimited" : std::to_string(value);
}

void compare_limits(std::vector<FieldChange>& changes, const Process& a, const Process& b) {
    // By number, as in <sys/resource.h>.
    static const char* const k_names[] = {"cpu",      "fsize",  "data",    "stack", "core",  "rss",
                                          "nproc",    "nofile", "memlock", "as",    "locks", "sigpending",
                                          "msgqueue", "nice",   "rtprio",  "rttime"};
    size_t count = std::min(a.limits.size(), b.limits.size());
    for (size_t i = 0; i < count; ++i) {
        std::string name = i < std::size(k_names) ? k_names[i] : std::to_string(i);
        compare(changes, ("limit " + name).c_str(),
                limit_text(a.limits[i].soft) + ":" + limit_text(a.limits[i].hard),
                limit_text(b.limits[i].soft) + ":" + limit_text(b.limits[i].hard));
    }
}

void compare_threads(std::vector<FieldChange>& changes, const Process& a, const Process& b) {
    std::map<images::DumpPid, const images::Thread*> before;
    for (const images::Thread& thread : a.threads) before.emplace(thread.tid, &thread);
    for (const images::Thread& after : b.threads) {
        auto found = before.find(after.tid);
        if (found == before.end()) continue;
        const images::Thread& old = *found->second;
        std::string who = a.threads.size() > 1 ? fmt::format("thread {} ", after.tid.value) : "";
        auto differs = [&](const char* what, auto was, auto is) {
            if (was && is)
                compare(changes, (who + what).c_str(), fmt::format("{}", *was), fmt::format("{}", *is));
        };
        if (old.comm != after.comm && after.tid != b.pid)
            compare(changes, (who + "comm").c_str(), old.comm, after.comm);
        if (old.blocked_signals && after.blocked_signals) {
            compare(changes, (who + "blocked signals").c_str(), fmt::format("{:#x}", *old.blocked_signals),
                    fmt::format("{:#x}", *after.blocked_signals));
        }
        differs("scheduling policy", old.sched_policy, after.sched_policy);
        differs("nice", old.nice, after.nice);
        differs("priority", old.sched_priority, after.sched_priority);
        differs("seccomp mode", old.seccomp_mode, after.seccomp_mode);
    }
}

// Variables by name; what has no "=" is a name alone. A program may write there what it likes.
std::map<std::string, std::string> variables(const std::vector<std::string>& environment) {
    std::map<std::string, std::string> values;
    for (const std::string& entry : environment) {
        size_t equals = entry.find('=');
        values.emplace(entry.substr(0, equals), equals == std::string::npos ? "" : entry.substr(equals + 1));
    }
    return values;
}

// Only where both sides could be read whole: half an environment would differ everywhere.
void compare_strings(std::vector<FieldChange>& changes, images::MemoryWindow& a, images::MemoryWindow& b,
                     const Process& before, const Process& after) {
    bool whole_before = false, whole_after = false;
    auto old_words = read_arguments(a, before, whole_before);
    auto new_words = read_arguments(b, after, whole_after);
    if (whole_before && whole_after) {
        compare(changes, "arguments", base::join(old_words, " "), base::join(new_words, " "));
    }
    auto old_values = variables(read_environment(a, before, whole_before));
    auto new_values = variables(read_environment(b, after, whole_after));
    if (!whole_before || !whole_after) return;
    for (const auto& [name, value] : old_values) {
        auto now = new_values.find(name);
        compare(changes, ("env " + name).c_str(), value, now == new_values.end() ? "" : now->second);
    }
    for (const auto& [name, value] : new_values) {
        if (!old_values.contains(name)) compare(changes, ("env " + name).c_str(), "", value);
    }
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
    if (a.credentials && b.credentials) {
        compare(changes, "no_new_privs", uint64_t{a.credentials->no_new_privs},
                uint64_t{b.credentials->no_new_privs});
        compare(changes, "securebits", a.credentials->securebits, b.credentials->securebits);
        compare(changes, "lsm", a.credentials->lsm_profile, b.credentials->lsm_profile);
    }
    if (a.umask && b.umask)
        compare(changes, "umask", fmt::format("{:04o}", *a.umask), fmt::format("{:04o}", *b.umask));
    if (a.oom_score_adj && b.oom_score_adj) {
        compare(changes, "oom_score_adj", std::to_string(*a.oom_score_adj), std::to_string(*b.oom_score_adj));
    }
    compare(changes, "threads", thread_text(a), thread_text(b));
    compare_threads(changes, a, b);
    compare_limits(changes, a, b);
    return changes;
}

}  // namespace

ProcessDiff diff_processes(Moment first, Moment second) {
    const images::Checkpoint& a = first.checkpoint;
    const images::Checkpoint& b = second.checkpoint;
    ProcessDiff diff;
    for (const Process& before : a.processes) {
        if (b.find_process(before.pid) != nullptr) continue;
        diff.changes.push_back({before.pid, ProcessFate::gone, before.comm, before.executable, {}});
    }
    images::MemoryWindow memories_a(a, first.source, images::ExpectedStrings::both, diff.findings);
    images::MemoryWindow memories_b(b, second.source, images::ExpectedStrings::both, diff.findings);
    for (const Process& after : b.processes) {
        const Process* before = a.find_process(after.pid);
        if (before == nullptr) {
            diff.changes.push_back({after.pid, ProcessFate::added, after.comm, after.executable, {}});
            continue;
        }
        // A zombie has lost the memory by which it could be told, but its pid is still its own.
        bool same = same_program(*before, after) || after.state == images::ProcessState::zombie;
        auto changes = compare_processes(*before, after);
        compare_strings(changes, memories_a, memories_b, *before, after);
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

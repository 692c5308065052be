// Threads that stand where they stood: what a hang looks like from two snapshots.
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "inspect/diff.h"

namespace cprewind::inspect {

namespace {

using images::Process;
using images::Thread;

// Names of the instruction pointer by architecture, as images/registers.cpp gives them.
constexpr const char* k_instruction_names[] = {"rip", "eip", "pc", "nip", "psw_addr", "cp0_epc"};

uint64_t instruction_of(const Thread& thread) {
    for (const char* name : k_instruction_names) {
        if (auto value = thread.register_named(name)) return *value;
    }
    return 0;
}

// orig_rax is left out: it tells how the kernel was entered, and CRIU's own entry changes it.
bool stands_still(const Thread& a, const Thread& b) {
    if (a.registers.empty() || a.registers.size() != b.registers.size()) return false;
    return std::equal(a.registers.begin(), a.registers.end(), b.registers.begin(),
                      [](const images::Register& x, const images::Register& y) {
                          return x.value == y.value || std::string_view(x.name) == "orig_rax";
                      });
}

std::string place_of(const Process& process, uint64_t address) {
    auto after = std::upper_bound(
        process.mappings.begin(), process.mappings.end(), address,
        [](uint64_t value, const images::Mapping& mapping) { return value < mapping.start; });
    if (after == process.mappings.begin()) return "unmapped";
    const images::Mapping& mapping = *std::prev(after);
    if (address >= mapping.end) return "unmapped";
    if (mapping.path.empty()) return images::name_of(mapping.kind);
    return fmt::format("{}+{:#x}", mapping.path, address - mapping.start + mapping.offset);
}

}  // namespace

ThreadDiff diff_threads(const images::Checkpoint& a, const images::Checkpoint& b, const PidSet& reused) {
    ThreadDiff diff;
    for (const Process& after : b.processes) {
        const Process* before = find_same(a, after.pid, reused);
        if (before == nullptr) continue;
        std::map<images::DumpPid, const Thread*> old;
        for (const Thread& thread : before->threads) old.emplace(thread.tid, &thread);
        for (const Thread& thread : after.threads) {
            auto found = old.find(thread.tid);
            if (found == old.end() || thread.registers.empty()) continue;
            if (!stands_still(*found->second, thread)) {
                ++diff.moved;
                continue;
            }
            uint64_t instruction = instruction_of(thread);
            diff.still.push_back({after.pid, thread.tid, thread.comm.empty() ? after.comm : thread.comm,
                                  instruction, place_of(after, instruction)});
        }
    }
    return diff;
}

}  // namespace cprewind::inspect

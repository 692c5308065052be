#include "inspect/core_notes.h"

#include <elf.h>
#include <fmt/format.h>

#include <algorithm>

#include "base/bytes.h"

namespace cprewind::inspect {

namespace {

using base::append_integer;
using images::MappingKind;
using images::Process;

constexpr uint32_t k_arm_pac_mask = 0x406;
constexpr uint32_t k_x86_shadow_stack = 0x204;
constexpr size_t k_siginfo_size = 128;

void pad(std::string& bytes, size_t multiple) {
    bytes.resize((bytes.size() + multiple - 1) / multiple * multiple, '\0');
}

void add_note(std::string& notes, std::string_view owner, uint32_t type, std::string_view content) {
    append_integer(notes, static_cast<uint32_t>(owner.size() + 1));
    append_integer(notes, static_cast<uint32_t>(content.size()));
    append_integer(notes, type);
    notes += owner;
    notes += '\0';
    pad(notes, 4);
    notes += content;
    pad(notes, 4);
}

uint32_t stop_signal(const Process& process) {
    return process.state == images::ProcessState::stopped ? process.details.stop_signal.value_or(0) : 0;
}

std::string make_prstatus(const Process& process, const CoreThread& thread) {
    uint64_t pending = 0;
    for (const images::PendingSignal& signal : thread.thread.details.pending) {
        if (signal.signal >= 1 && signal.signal <= 64) pending |= uint64_t{1} << (signal.signal - 1);
    }
    std::string out;
    for (uint32_t number : {stop_signal(process), 0u, 0u}) append_integer(out, number);  // signo, code, errno
    append_integer(out, stop_signal(process));                                           // 16 bits and a gap
    append_integer(out, pending);
    append_integer(out, thread.thread.blocked_signals.value_or(0));
    for (images::DumpPid id : {thread.thread.tid, process.ppid, process.pgid, process.sid})
        append_integer(out, id.value);
    constexpr size_t k_times = 64;
    out.append(k_times, '\0');
    for (uint64_t value : thread.state.general) append_integer(out, value);
    append_integer(out, uint32_t{1});  // there are floating point registers
    append_integer(out, uint32_t{0});
    return out;
}

std::string make_prpsinfo(const Process& process, const images::AddressSpace& memory) {
    constexpr size_t k_name = 16, k_arguments = 80;
    bool stopped = process.state == images::ProcessState::stopped;
    std::string out;
    out += static_cast<char>(stopped ? 3 : 1);
    out += stopped ? 'T' : 'S';
    out += '\0';
    out += static_cast<char>(process.threads.empty() ? 0 : process.threads.front().nice.value_or(0));
    append_integer(out, uint32_t{0});
    append_integer(out, uint64_t{0});  // flags
    append_integer(out, process.credentials ? process.credentials->uid : 0);
    append_integer(out, process.credentials ? process.credentials->gid : 0);
    for (images::DumpPid id : {process.pid, process.ppid, process.pgid, process.sid})
        append_integer(out, id.value);
    std::string name = process.comm.substr(0, k_name - 1);
    name.resize(k_name, '\0');
    bool complete = false;
    std::string arguments = images::read_range(memory, process.arguments, k_arguments - 1, complete);
    while (!arguments.empty() && arguments.back() == '\0') arguments.pop_back();
    std::replace(arguments.begin(), arguments.end(), '\0', ' ');
    arguments.resize(k_arguments, '\0');
    return out + name + arguments;
}

std::string make_siginfo(const Process& process) {
    std::string out;
    append_integer(out, stop_signal(process));
    out.resize(k_siginfo_size, '\0');
    return out;
}

std::string make_auxv(const Process& process) {
    std::string out;
    for (size_t i = 0; i + 1 < process.auxv.size(); i += 2) {
        append_integer(out, process.auxv[i]);
        append_integer(out, process.auxv[i + 1]);
        if (process.auxv[i] == AT_NULL) return out;
    }
    out.append(2 * sizeof(uint64_t), '\0');
    return out;
}

// As /proc/PID/maps has it; "" for what is of no file.
std::string file_name(const images::Checkpoint& checkpoint, const images::Mapping& mapping) {
    switch (mapping.kind) {
        case MappingKind::file_private:
        case MappingKind::file_shared: {
            const images::File* file = mapping.file_id ? checkpoint.find_file(*mapping.file_id) : nullptr;
            return mapping.path + (file != nullptr && file->deleted ? " (deleted)" : "");
        }
        case MappingKind::memfd:
            return "/" + mapping.path + " (deleted)";
        case MappingKind::anonymous_shared:
            return "/dev/zero (deleted)";
        default:
            return {};
    }
}

std::string make_files(const images::Checkpoint& checkpoint, const Process& process, uint64_t page_size) {
    std::string table, names;
    uint64_t count = 0;
    for (const images::Mapping& mapping : process.mappings) {
        std::string name = file_name(checkpoint, mapping);
        if (name.empty()) continue;
        name.erase(std::remove(name.begin(), name.end(), '\0'), name.end());
        append_integer(table, mapping.start);
        append_integer(table, mapping.end);
        append_integer(table, mapping.offset / page_size);
        names += name;
        names += '\0';
        ++count;
    }
    std::string out;
    append_integer(out, count);
    append_integer(out, page_size);
    return out + table + names;
}

// Which bits of a return address are an authentication code: those above the address space and below the tag.
std::string make_pac_mask(const Process& process) {
    constexpr unsigned k_tag_bit = 55, k_small = 39, k_usual = 48;
    bool small = process.mappings.empty() || process.mappings.back().end <= uint64_t{1} << k_small;
    uint64_t mask = (uint64_t{1} << k_tag_bit) - (uint64_t{1} << (small ? k_small : k_usual));
    std::string out;
    append_integer(out, mask);
    append_integer(out, mask);
    return out;
}

void add_more_registers(std::string& notes, const Process& process, const images::ThreadState& state) {
    add_note(notes, "CORE", NT_FPREGSET, state.floating_point);
    auto words = [](uint64_t value) {
        std::string out;
        append_integer(out, value);
        return out;
    };
    if (!state.extended.empty()) add_note(notes, "LINUX", NT_X86_XSTATE, state.extended);
    if (state.shadow_stack_pointer)
        add_note(notes, "LINUX", k_x86_shadow_stack, words(*state.shadow_stack_pointer));
    if (state.tls) add_note(notes, "LINUX", NT_ARM_TLS, words(*state.tls));
    if (state.signs_addresses) add_note(notes, "LINUX", k_arm_pac_mask, make_pac_mask(process));
}

}  // namespace

std::string make_core_notes(Moment moment, const Process& process, const images::AddressSpace& memory,
                            const std::vector<CoreThread>& threads) {
    std::string notes;
    for (const CoreThread& thread : threads) {
        add_note(notes, "CORE", NT_PRSTATUS, make_prstatus(process, thread));
        if (&thread == &threads.front()) add_note(notes, "CORE", NT_PRPSINFO, make_prpsinfo(process, memory));
        add_note(notes, "CORE", NT_SIGINFO, make_siginfo(process));
        if (&thread == &threads.front()) {
            add_note(notes, "CORE", NT_AUXV, make_auxv(process));
            add_note(notes, "CORE", NT_FILE, make_files(moment.checkpoint, process, memory.page_size()));
        }
        add_more_registers(notes, process, thread.state);
    }
    return notes;
}

}  // namespace cprewind::inspect

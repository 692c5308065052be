#include "inspect/thread_registers.h"

#include <array>

namespace cprewind::inspect {

namespace {

using images::PageState;

// The codes are the kernel's own (include/linux/errno.h). Which of them it was is not in the image, but most calls have
// only one: those that a handler is always to interrupt have the second.
constexpr int64_t k_restart = -512, k_restart_unless_handled = -514;

int64_t restart_code(uint64_t call) {
    for (uint64_t number : {23u, 34u, 130u, 270u, 271u}) {  // select, pause, rt_sigsuspend, pselect6, ppoll
        if (call == number) return k_restart_unless_handled;
    }
    return k_restart;
}

bool stands_at_a_call(const images::AddressSpace& memory, uint64_t address) {
    constexpr std::array<std::byte, 2> k_syscall{std::byte{0x0f}, std::byte{0x05}};
    std::array<std::byte, 2> code{};
    auto spans = memory.read(address, code);
    // Code that is not in the dump: a call's number as its result is hardly ever anything else.
    bool known = spans.size() == 1 && spans.front().state == PageState::present;
    return !known || code == k_syscall;
}

void undo_restart(const images::AddressSpace& memory, images::ThreadState& state) {
    constexpr size_t k_instruction = 2;
    if (state.architecture != images::Architecture::x86_64 || state.is_32_bit) return;
    std::vector<uint64_t>& r = state.general;
    if (r.size() != x86_64::count) return;
    if (static_cast<int64_t>(r[x86_64::orig_rax]) < 0 || r[x86_64::rax] != r[x86_64::orig_rax]) return;
    if (!stands_at_a_call(memory, r[x86_64::rip])) return;
    r[x86_64::rip] += k_instruction;
    r[x86_64::rax] = static_cast<uint64_t>(restart_code(r[x86_64::orig_rax]));
}

}  // namespace

std::optional<images::ThreadState> load_registers(Moment moment, const images::AddressSpace& memory,
                                                  images::DumpPid tid, images::Findings& findings) {
    auto state = images::load_thread_state(moment.source, tid, findings);
    if (state) undo_restart(memory, *state);
    return state;
}

}  // namespace cprewind::inspect

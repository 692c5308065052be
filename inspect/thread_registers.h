// Registers of a thread as a debugger that had stopped it would have shown them.
//
// They differ from those in the image where CRIU has prepared a restart: of a thread that waits in a system call it
// stores the call's number as the result and the address of the call instruction instead of the one behind it, so that
// the restored thread simply makes the call again. A debugger shows the address behind and one of the kernel's codes
// -ERESTART…; stacks of the two would disagree in their first line. Only x86_64 images tell the two apart.
#pragma once

#include <optional>

#include "images/pages.h"
#include "images/thread_state.h"
#include "inspect/moment.h"

namespace cprewind::inspect {

// Nothing, with a finding, when the image cannot be read.
std::optional<images::ThreadState> load_registers(Moment moment, const images::AddressSpace& memory,
                                                  images::DumpPid tid, images::Findings& findings);

// Places in ThreadState::general.
namespace x86_64 {
enum : size_t {
    r15,
    r14,
    r13,
    r12,
    rbp,
    rbx,
    r11,
    r10,
    r9,
    r8,
    rax,
    rcx,
    rdx,
    rsi,
    rdi,
    orig_rax,
    rip,
    cs,
    eflags,
    rsp,
    ss,
    fs_base,
    gs_base,
    ds,
    es,
    fs,
    gs,
    count
};
}
namespace aarch64 {
enum : size_t { x29 = 29, x30 = 30, sp, pc, pstate, count };
}

}  // namespace cprewind::inspect

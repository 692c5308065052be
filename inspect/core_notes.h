// The notes of an ELF core: what a debugger needs to know of a process beside its memory.
//
// In the order in which the kernel writes them (fs/binfmt_elf.c), because debuggers give what follows a PRSTATUS to
// that thread: for the first thread PRSTATUS, PRPSINFO, SIGINFO, AUXV, FILE, FPREGSET and the architecture's own; for
// each further one PRSTATUS, SIGINFO, FPREGSET and the architecture's own. Layouts are those of <linux/elfcore.h>.
#pragma once

#include <string>
#include <vector>

#include "images/pages.h"
#include "images/thread_state.h"
#include "inspect/moment.h"

namespace cprewind::inspect {

struct CoreThread {
    const images::Thread& thread;
    images::ThreadState state;
};

// All notes, one after another, each padded to four bytes.
std::string make_core_notes(Moment moment, const images::Process& process, const images::AddressSpace& memory,
                            const std::vector<CoreThread>& threads);

}  // namespace cprewind::inspect

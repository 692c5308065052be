// What every thread was doing, function by function: stacks unwound and named with the binaries of the snapshot.
//
// The work is elfutils' (libdwfl): unwinding by DWARF call frame information, by frame pointers where there is none, and
// names from symbol tables and debug information. It reads ELF files that came with the evidence, so what it is given is
// bounded, and callers had better run it in a child process (cli/isolated.h).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "inspect/container_files.h"
#include "inspect/moment.h"

namespace cprewind::inspect {

// How it is known that a frame is there.
enum class FoundBy { registers, frame_information, frame_pointer };
const char* name_of(FoundBy found_by);

struct StackFrame {
    uint64_t address = 0;  // where the thread stands, or will return to
    FoundBy found_by = FoundBy::registers;
    bool is_inlined = false;         // into the next one, with the same address
    bool is_signal_handler = false;  // the kernel's: what is above it handles a signal
    std::string function;            // demangled; "" when nothing names it
    uint64_t offset = 0;             // of the address in the function
    std::string object;  // the file, "[vdso]", or the kind of memory; "" when nothing is mapped there
    uint64_t object_address = 0;  // in the file's own addresses; the address itself when it is no file
    std::string source;           // "" without debug information
    uint32_t line = 0;
};

struct ThreadStack {
    images::DumpPid pid;
    images::DumpPid tid;
    std::string comm;
    std::vector<StackFrame> frames;  // innermost first
    // Why there are no more, one clause; "" when the last one is the outermost.
    std::string end;
};

// All threads of a process, in the order of the process. Not for zombies.
std::vector<ThreadStack> unwind_process(Moment moment, const images::Process& process,
                                        const ContainerFiles& files, images::Findings& findings);

// Threads whose stacks are the same, function by function and address by address, whichever process they belong to.
struct StackGroup {
    std::vector<const ThreadStack*> threads;
};
std::vector<StackGroup> group_stacks(const std::vector<ThreadStack>& stacks);

}  // namespace cprewind::inspect

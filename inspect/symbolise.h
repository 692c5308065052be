// From an address to functions and source lines, inlined ones included.
#pragma once

#include <elfutils/libdwfl.h>

#include <vector>

#include "inspect/elf_modules.h"
#include "inspect/stacks.h"

namespace cprewind::inspect {

// The frames at one address, innermost first: more than one where functions were inlined. `frame` has the address and how
// it was found. `is_call`: the address is behind a call, so it is the call that counts.
std::vector<StackFrame> symbolise(const ElfModules& modules, const images::Process& process,
                                  const StackFrame& frame, bool is_call);

}  // namespace cprewind::inspect

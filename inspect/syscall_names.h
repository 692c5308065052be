// Names of system calls by number.
#pragma once

#include <cstdint>

#include "images/model.h"

namespace cprewind::inspect {

// Null when the number has no name, or the architecture's numbers are not known here.
const char* syscall_name(images::Architecture architecture, uint64_t number);

}  // namespace cprewind::inspect

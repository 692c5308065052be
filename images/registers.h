// The general purpose registers of a core image, in one list for all architectures.
#pragma once

#include <vector>

#include "images/model.h"

namespace cprewind::criu {
class core_entry;
}

namespace cprewind::images {

Architecture architecture_of(const criu::core_entry& core);

// Named and ordered as a debugger of that architecture shows them, as far as the images name them; empty when there
// are none.
std::vector<Register> read_registers(const criu::core_entry& core);

}  // namespace cprewind::images

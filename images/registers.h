// The general purpose registers of a core image, in one list for all architectures.
#pragma once

#include <vector>

#include "images/model.h"

namespace cprewind::criu {
class core_entry;
}

namespace cprewind::images {

Architecture architecture_of(const criu::core_entry& core);

// Named and ordered as a debugger of that architecture shows them; empty for those not read yet.
std::vector<Register> read_registers(const criu::core_entry& core);

}  // namespace cprewind::images

// What `suspend` and `resume` have to say of each container.
#pragma once

#include <vector>

#include "cli/command.h"
#include "engine/suspend.h"

namespace cprewind::cli {

// Prints it as text or JSON; `done` is the verb's past ("suspended as", "is back at"). Returns the exit status.
int print_moved(Context& context, const std::vector<engine::MovedContainer>& moved, const char* done);

}  // namespace cprewind::cli

// Work on evidence by somebody else's code, in a child process: should it crash, hang or eat memory, we only miss an
// answer.
#pragma once

#include <functional>
#include <string>

#include "base/process.h"

namespace cprewind::cli {

struct IsolatedResult {
    base::ExitStatus status;  // what `work` gave is complete only on success
    std::string answer;
};

// Runs `work` in a fork of this process, with at most `seconds` of processor time and `memory` more bytes of address
// space, and returns what it returned. Exceptions of `work` end the child with status 1.
IsolatedResult run_isolated(const std::function<std::string()>& work, unsigned seconds, uint64_t memory);

}  // namespace cprewind::cli

// `cprewind recover`.
#pragma once

#include <string>
#include <vector>

#include "cli/command.h"

namespace cprewind::cli {

int run_recover(Context&, const std::vector<std::string>&);

extern const char* const k_recover_help;

}  // namespace cprewind::cli

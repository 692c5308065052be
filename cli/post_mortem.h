// The commands that hand a process of a snapshot to a debugger.
#pragma once

#include <string>
#include <vector>

#include "cli/command.h"
#include "cli/subject.h"

namespace cprewind::cli {

int run_core(Context&, const std::vector<std::string>&);
int run_gdb(Context&, const std::vector<std::string>&);

extern const char* const k_core_help;
extern const char* const k_gdb_help;

// The process of that number. Errors: usage when `pid` is not given and there is more than one process to choose from,
// not_found, with the ones there are.
const images::Process& choose_process(const Subject& subject, std::optional<uint32_t> pid);

}  // namespace cprewind::cli

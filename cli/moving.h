// The commands about moments as containers of their own, hosts that restart, and what CRIU says.
#pragma once

#include <string>
#include <vector>

#include "cli/command.h"

namespace cprewind::cli {

int run_fork(Context&, const std::vector<std::string>&);
int run_suspend(Context&, const std::vector<std::string>&);
int run_resume(Context&, const std::vector<std::string>&);
int run_explain(Context&, const std::vector<std::string>&);

extern const char* const k_fork_help;
extern const char* const k_suspend_help;
extern const char* const k_resume_help;
extern const char* const k_explain_help;

}  // namespace cprewind::cli

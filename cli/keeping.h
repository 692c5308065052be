// The commands that keep house in the repository and carry snapshots between repositories.
#pragma once

#include <string>
#include <vector>

#include "cli/command.h"

namespace cprewind::cli {

int run_prune(Context&, const std::vector<std::string>&);
int run_export(Context&, const std::vector<std::string>&);
int run_import(Context&, const std::vector<std::string>&);

extern const char* const k_prune_help;
extern const char* const k_export_help;
extern const char* const k_import_help;

}  // namespace cprewind::cli

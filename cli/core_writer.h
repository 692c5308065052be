// A core on disk, sparse.
#pragma once

#include <string>

#include "cli/progress.h"
#include "inspect/core_file.h"

namespace cprewind::cli {

// `name` is for messages; `fd` an empty file.
void write_core(const inspect::CoreFile& core, int fd, const std::string& name, Progress& progress);

}  // namespace cprewind::cli

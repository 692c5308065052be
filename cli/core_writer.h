// A core on disk, sparse.
#pragma once

#include <functional>
#include <string>

#include "cli/progress.h"
#include "cli/subject.h"
#include "inspect/core_file.h"

namespace cprewind::cli {

// `name` is for messages; `fd` an empty file. `check` is called now and then, and may throw. `core` is of `subject`.
void write_core(const Subject& subject, const inspect::CoreFile& core, int fd, const std::string& name,
                Progress& progress, const std::function<void()>& check = {});

}  // namespace cprewind::cli

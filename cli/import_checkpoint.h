// Importing what other tools wrote; `cprewind import` recognises what it was given and calls this.
#pragma once

#include <string>

#include "cli/command.h"

namespace cprewind::cli {

// Stores the checkpoint at `path` and shows its record. `name` is the container's name, "" for the one that the
// checkpoint tells. Errors as images::open_source has them.
int import_checkpoint(Context& context, const std::string& path, const std::string& name);

}  // namespace cprewind::cli

// A volume or bind mount of a container as JSON; the same wherever one is shown.
#pragma once

#include "cli/output.h"
#include "images/volumes.h"

namespace cprewind::cli {

Json volume_json(const images::Volume& volume);

}  // namespace cprewind::cli

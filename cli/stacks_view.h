// `inspect SNAPSHOT threads --stacks`: what every thread was doing, function by function.
#pragma once

#include <string>

#include "cli/views.h"

namespace cprewind::cli {

// `sysroot` may be empty.
void show_stacks(Context& context, const ViewRequest& request, const std::string& sysroot, Json& document,
                 images::Findings& findings);

}  // namespace cprewind::cli

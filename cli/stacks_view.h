// `inspect SNAPSHOT threads --stacks`: what every thread was doing, function by function. `diff A B threads --stacks`
// shows those of threads that did not move.
#pragma once

#include <set>
#include <string>
#include <utility>
#include <vector>

#include "cli/views.h"

namespace cprewind::cli {

// `sysroot` may be empty.
void show_stacks(Context& context, const ViewRequest& request, const std::string& sysroot, Json& document,
                 images::Findings& findings);

// The same of these threads only, as lines and as the list that is "stacks" in JSON.
struct StacksShown {
    std::vector<std::string> lines;
    Json json;
};
using ThreadIds = std::set<std::pair<images::DumpPid, images::DumpPid>>;  // process, thread
StacksShown stacks_of(Context& context, const Subject& subject, const ThreadIds& threads,
                      const std::string& sysroot, images::Findings& findings);

}  // namespace cprewind::cli

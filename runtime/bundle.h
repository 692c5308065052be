// What a restore needs changed in the container's OCI bundle (config.json), which containerd made for a fresh
// start.
#pragma once

#include <filesystem>

#include "runtime/plan.h"

namespace cprewind::runtime {

// Adds to <bundle>/config.json a createRuntime hook that runs `program hook-lo ADDRESS…`, and the annotation by which
// runc hands a configuration file to CRIU, and names the target of each mount's source that is a symbolic link.
// All else stays as it is; the file is replaced as a whole. Throws base::Error.
//
// Why the hook: runtime/loopback.h. runc runs createRuntime hooks at CRIU's setup-namespaces stage, after the
// network namespace is made and before the sockets are.
void prepare_bundle(const std::filesystem::path& bundle, const std::filesystem::path& program,
                    const Plan& plan);

}  // namespace cprewind::runtime

// Restoring instead of creating: what happens when `create` meets a plan.
#pragma once

#include <filesystem>
#include <string>

#include "runtime/arguments.h"
#include "runtime/plan.h"

namespace cprewind::runtime {

// Runs `runc restore` for a plan that was taken, and returns our exit status. Whatever happens, the container
// is never started from scratch afterwards: whoever asked for a moment of the past must not get a fresh
// process instead. The result is in the plan's taken directory; a failure also in the runtime's log, where
// containerd looks for it, and on standard error.
int restore_container(const std::string& runc, const CommandLine& create, const Plan& plan,
                      const std::filesystem::path& state);

// Writes `message` as the last error of the runtime's log in the format that was asked for.
void log_error(const CommandLine& line, const std::string& message) noexcept;

// True when the container is one that we restored and this is the first `start` since: then there is nothing
// to start.
bool swallow_start(const std::filesystem::path& state, const std::string& container_id);

// What CRIU's log gives as the reason, or empty.
std::string cause_in_log(const std::filesystem::path& log);

}  // namespace cprewind::runtime

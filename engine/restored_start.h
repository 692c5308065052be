// Starting a container so that our runtime restores it: the plan, `docker start`, what came of it.
#pragma once

#include <filesystem>
#include <string>

#include "engine/docker_client.h"

namespace cprewind::engine {

// `images`: a checkpoint in a directory of our own; many containers may be started from one at the same time.
// `close_connections`: TCP connections come back closed. Errors: failed, with the cause from CRIU's log.
void start_restored(DockerClient& docker, const std::string& container_id, const std::string& container_name,
                    const std::filesystem::path& images, bool close_connections);

// The name under which cprewind-runtime is registered, the usual one first. Errors: unavailable.
std::string registered_runtime(DockerClient& docker);

}  // namespace cprewind::engine

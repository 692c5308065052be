// Making a host ready: our runtime registered with Docker, and undone again.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "engine/daemon_config.h"
#include "engine/docker_client.h"

namespace cprewind::engine {

struct SetupRequest {
    std::filesystem::path config = "/etc/docker/daemon.json";
    std::filesystem::path runtime;  // the cprewind-runtime executable
    bool make_default = false;
    bool undo = false;
};

struct SetupPlan {
    SetupRequest request;
    ConfigChange change;
    std::vector<std::string> steps;  // what will be done, sentences for a person; empty: nothing to do
};

// The cprewind-runtime that belongs to this cprewind: beside it, or in ../libexec/cprewind of it.
// Errors: not_found with where it was looked for.
std::filesystem::path find_own_runtime();

// Reads, checks, decides; changes nothing.
SetupPlan plan_setup(const SetupRequest& request);

// Writes daemon.json (mode kept), lets dockerd validate it, makes it reload by SIGHUP, and waits until it
// shows the runtime (or no longer). On failure the old file is put back.
void apply_setup(DockerClient& docker, const SetupPlan& plan);

// Pid of the dockerd that serves this socket, from its pid file; 0 when unknown.
pid_t find_dockerd();

}  // namespace cprewind::engine

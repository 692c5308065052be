// A container from a past moment, beside the one that it was taken of, which runs on or may be gone.
//
//   1 read and verify the snapshot into staging, once for all forks: they share its pages through the page cache
//   2 arm a guard that removes what was made when we die; volumes of their own
//   3 for each: create a container of the same configuration under our runtime, put the writable layer in place, leave
//     the plan (runtime/plan.h), `docker start`
//   4 look whether each runs what the snapshot holds; the snapshot becomes the parent of its timeline
// A failure of one removes all of them.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine/docker_client.h"
#include "engine/fork_volumes.h"
#include "engine/snap.h"
#include "store/repository.h"

namespace cprewind::engine {

struct ForkRequest {
    std::string name;
    unsigned count = 1;                  // more: NAME-1, NAME-2, …
    std::vector<std::string> publish;    // as docker run --publish has them; else no port is published
    bool publish_all = false;            // what the original published, at ports that Docker chooses
    std::optional<std::string> network;  // instead of the original's
    VolumeMode volumes = VolumeMode::copy;
};

struct Forked {
    std::string id;
    std::string name;
    std::string ip_address;
    std::map<std::string, std::string> ports;  // Container::ports
    std::vector<ForkedVolume> volumes;
    uint64_t processes = 0;
    std::chrono::nanoseconds took{};  // from its creation until it ran
};

struct ForkResult {
    store::SnapshotRecord target;
    std::vector<Forked> forks;
    std::vector<std::string> dropped_ports;     // that the original published and the forks do not
    std::vector<std::string> host_directories;  // bind mounts, and whether they are read-only now: sentences
    bool connections_closed =
        false;  // TCP connections to the outside, whose other ends belong to the original
    std::chrono::nanoseconds prepared{};  // reading and verifying the snapshot
};

// Errors: usage (a name is taken, a port cannot be read), unsupported, damaged, and what CRIU says, explained. Nothing
// is left behind then.
ForkResult fork(DockerClient& docker, store::Repository& repository, const store::SnapshotRecord& record,
                const ForkRequest& request, const Report& report);

// For tests: "[IP:][HOST_PORT:]PORT[/PROTOCOL]" as HostConfig.PortBindings, for the fork of that number (from 0): fixed
// ports count up. Errors: usage.
nlohmann::json port_bindings_of(const std::vector<std::string>& publish, unsigned number);

}  // namespace cprewind::engine

// One container as Docker and the kernel describe it: everything `snap` and `rewind` must know before they
// touch it.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "engine/docker_client.h"

namespace cprewind::engine {

struct Container {
    std::string id;
    std::string name;
    std::string image;     // as the user named it
    bool running = false;  // also true while paused
    bool paused = false;
    bool restarting = false;
    pid_t init_pid = 0;  // host pid of the container's pid 1
    bool terminal = false;
    bool auto_remove = false;
    std::string runtime;  // the name it was created with
    std::string network_mode;
    std::string ip_address;                    // of the first network that has one
    std::map<std::string, std::string> ports;  // "6379/tcp" -> "0.0.0.0:32768, [::]:32768", published ones
    std::string log_path;
    std::string upper_directory;  // GraphDriver's, overlay2 only; else empty
    nlohmann::json raw;           // Docker's whole answer
};

// Errors: see DockerClient::inspect_container.
Container find_container(DockerClient& docker, const std::string& name);

// The writable layer: the `upperdir=` of the overlay that is the container's root, which holds for overlay2
// and for containerd's snapshotters. For a container that is not running, GraphDriver's word, or nothing.
// Errors: unsupported when the root is no overlay (storage driver btrfs, zfs, vfs …).
std::optional<std::filesystem::path> find_writable_layer(const Container& container);

// Where a program that can checkpoint this container keeps its state, and the program.
struct RuntimeHandle {
    std::string binary;  // "runc", or the path registered in daemon.json
    std::string root;    // its --root for this container
};

// "crun", when that runs the container: it is told by the state it keeps.
std::optional<std::string> find_foreign_runtime(const Container& container);

// Nothing when the container's runtime keeps no runc state that we can see (crun, gVisor, Kata, another
// exec-root).
std::optional<RuntimeHandle> find_runtime(DockerClient& docker, const Container& container);

// Host pids of all processes of the container, by its control group.
std::vector<pid_t> processes_of(const Container& container);

// Host pids of whatever runs in a control group named after that container, whether Docker knows of it or not.
std::vector<pid_t> processes_named_after(const std::string& container_id);

// A process of which a thread waits for the child it has started with vfork(2) to exec. When both are frozen
// it waits uninterruptibly, and CRIU cannot stop it: dumping would fail after CRIU's timeout of ten seconds.
std::optional<pid_t> find_vfork(const std::vector<pid_t>& processes);

// What a dump of the container will take, estimated from the resident memory of its processes.
uint64_t estimate_dump_bytes(const std::vector<pid_t>& processes);

}  // namespace cprewind::engine

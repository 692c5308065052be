// Putting a moment in place of what a container is now: kill, files, restore. The one way in which `rewind` goes
// forward, and in which everybody goes back: rewind after a failure, its guard, `recover` (engine/recover.h).
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "engine/container.h"
#include "engine/docker_client.h"
#include "engine/dump.h"
#include "engine/journal.h"
#include "engine/layer_io.h"
#include "engine/materialise.h"
#include "engine/volumes.h"
#include "images/checkpoint.h"
#include "images/layer.h"

namespace cprewind::engine {

// A state of the container that can be put in place: where we go, and where we came from.
struct Target {
    std::filesystem::path images;  // empty: the container is not to run (it did not when we came)
    images::LayerTree layer;
    std::filesystem::path layer_data;
    bool paused = false;
    bool close_connections = false;
    std::vector<std::string> addresses{};  // runtime::Plan
    std::vector<VolumeTarget> volumes{};   // put back with the layer
};

// Fits images of ours to a world that has moved on.
void fit(Target& target, const images::Checkpoint& checkpoint);

// Who we are dealing with and how: fixed before anything is touched.
struct Scene {
    std::string container_id;
    std::string container_name;
    std::filesystem::path layer_directory;
    Via via = Via::runtime;
    std::filesystem::path docker_root;  // for Via::api
};

// The target that a stored snapshot is.
Target target_of(const ReadyMoment& moment);

struct PutBack {
    std::vector<LayerChange> layer;
    std::vector<VolumeChange> volumes;
    int64_t started_ns = 0;  // since the epoch: when its processes were about to come back
};

// `docker start`, by which our runtime restores `target` instead of creating afresh. The container must not run; its
// files are in place. Many may be started from one target at a time. Errors: failed, with the cause from CRIU's log.
void start_by_runtime(DockerClient& docker, const Scene& scene, const Target& target);

// Kills what runs and puts `target` in its place; `journal` is told before each step. Throws base::Error.
PutBack put_in_place(DockerClient& docker, const Scene& scene, const Target& target, Journal& journal);

// The same on the way back: waits for a dockerd that has died, and lets no full disk of the journal stop it.
void put_back(DockerClient& docker, const Scene& scene, const Target& before, Journal& journal);

// The moment of before as files that outlive us: in `directory` lie images/, layer.data and volumes/ already; this adds the
// rest. With `sync` it outlives a power cut.
void save_before(const std::filesystem::path& directory, const Target& before, bool sync);
// Reads it again. Nothing, when it is not there or not whole.
std::optional<Target> load_before(const std::filesystem::path& directory);

// Waits until no runtime is restoring the container. True: it was restored and runs.
bool settle_restore(DockerClient& docker, const std::string& container_id);

// A container that Docker holds for stopped has no processes. Those that a runtime has left behind which died in the
// middle of a restore are killed, and the runtime's own state is removed.
void end_remains(DockerClient& docker, const std::string& container_id);
// The killing alone.
void end_processes_of(const std::string& container_id);

}  // namespace cprewind::engine

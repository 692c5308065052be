// Stopping time for a container: pause, dump, copy the writable layer, and let it run on, whatever happens to
// us. This is the stall; everything that can wait is done by the caller afterwards (engine/snap.h).
#pragma once

#include <chrono>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "base/fd.h"
#include "base/text.h"
#include "engine/container.h"
#include "engine/container_lock.h"
#include "engine/dump.h"
#include "engine/guard.h"
#include "engine/layer_io.h"
#include "engine/staging.h"
#include "engine/volumes.h"

namespace cprewind::engine {

// Everything of one moment, lying in a staging directory.
struct FrozenMoment {
    std::unique_ptr<Staging> staging;  // images/, work/, layer.data, volumes/
    bool staged_in_memory = false;
    DumpMethod method;
    std::filesystem::path layer_directory;
    std::unique_ptr<LayerCapture> layer;
    std::unique_ptr<VolumesCapture> volumes;  // of the request
    uint64_t log_size = 0;                    // of the container's log file
    std::map<uint32_t, uint64_t> started;     // of its processes, by pid inside (start_times.h)
    uint64_t processes = 0;                   // in the container's control group while it stood still
    base::WallTime taken_at{};
    std::chrono::nanoseconds stall{};  // zero while the container is still frozen

    std::filesystem::path images() const { return staging->path() / "images"; }
    std::filesystem::path work() const { return staging->path() / "work"; }
};

// Keeps a container frozen; lets it run on when destroyed or when we die, unless it was paused before us.
class Freeze {
 public:
    // Arms the guard, which holds `holds` as long as it lives, then pauses: at a moment when no process is
    // inside vfork(2), letting the container run on for a little when one is.
    Freeze(DockerClient& docker, const Container& container, std::vector<int> holds);
    ~Freeze();
    Freeze(const Freeze&) = delete;
    Freeze& operator=(const Freeze&) = delete;

    int hold_fd() const { return guard_.hold_fd(); }
    // Just before the container came to stand still.
    std::chrono::steady_clock::time_point since() const { return since_; }
    // Resumes now and reports failure; afterwards the destructor does nothing.
    void resume();
    // The container is somebody else's business from here on (it was killed): nothing will be resumed.
    void abandon();

 private:
    DockerClient& docker_;
    const Container& container_;
    std::chrono::steady_clock::time_point since_ = std::chrono::steady_clock::now();
    Guard guard_;
    bool holding_ = true;
};

// What of the host stands against a dump of this container, before anything is touched. Throws Error.
void check_can_dump(const Container& container, const std::vector<pid_t>& processes);

struct FreezeRequest {
    Via via = Via::automatic;
    std::filesystem::path fallback_staging;  // on disk, for what memory cannot hold
    const ContainerLock& lock;               // of this container: nobody else touches it meanwhile
    std::shared_ptr<const LayerBefore> before = nullptr;  // what need not be read again
    std::vector<images::Volume> volumes = {};             // captured with it
};

// Takes the moment. With `keep_frozen` the container stays frozen and the holder of that is put there, else
// it runs on when this returns. Errors leave the container as it was.
FrozenMoment take_moment(DockerClient& docker, const Container& container, const FreezeRequest& request,
                         std::unique_ptr<Freeze>* keep_frozen = nullptr);

}  // namespace cprewind::engine

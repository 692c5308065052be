// Bringing a container back, in place: its processes, their memory, and its files, to one earlier moment.
//
// Order (each step leaves a state from which the container can be brought back to where it began):
//   1 read and verify every byte of the target into staging, before anything is touched
//   2 freeze the container and put a safety snapshot of now into the repository; it stays frozen
//   3 write the journal (engine/journal.h); kill it, put the target's writable layer in place (differences only)
//   4 leave the plan for the runtime (runtime/plan.h), `docker start`: the runtime restores instead of creating
//   5 look whether what runs is what the snapshot holds (engine/check_running.h)
// From 3 on a failure brings back what was there in 2, and so do our guard when we die, and the next command when
// the guard dies, too (engine/recover.h).
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine/check_running.h"
#include "engine/docker_client.h"
#include "engine/layer_io.h"
#include "engine/snap.h"
#include "store/repository.h"

namespace cprewind::engine {

struct RewindRequest {
    bool safety = true;  // take a safety snapshot of now
    Via via = Via::automatic;
    bool verify = true;     // look closely at what runs afterwards, and go back if it is wrong
    bool recreate = false;  // where it cannot be done in place: a new container (engine/recreate.h)
};

struct RewindResult {
    store::SnapshotRecord target;
    std::optional<store::SnapshotRecord> safety;
    Via via = Via::runtime;
    std::vector<LayerChange> layer_changes;
    RunningCheck check;
    bool recreated = false;
    std::string backup_name;  // of the old container, when it was kept: nobody verified the new one
    std::optional<std::string> recovered;  // what an earlier, interrupted command had left
    uint64_t processes = 0;
    std::map<std::string, std::string> new_ports;  // Container::ports, when they are others than before
    bool connections_closed =
        false;  // TCP connections to the outside were closed, since their other ends moved on
    std::chrono::nanoseconds prepared{};  // reading, verifying, the safety snapshot
    std::chrono::nanoseconds down{};      // from the kill until it runs again
};

RewindResult rewind(DockerClient& docker, store::Repository& repository, const std::string& container,
                    const store::SnapshotRecord& target, const RewindRequest& request, const Report& report);

}  // namespace cprewind::engine

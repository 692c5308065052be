// Taking a snapshot: a frozen moment of a container, put into the repository.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "engine/docker_client.h"
#include "engine/freeze.h"
#include "images/finding.h"
#include "store/repository.h"

namespace cprewind::engine {

// What long work is at, for a person: a phrase ("storing") with bytes done and in all (0: not known).
using Report = std::function<void(const std::string& doing, uint64_t done, uint64_t total)>;

struct SnapRequest {
    std::string message;
    std::vector<std::string> tags;
    Via via = Via::automatic;
    bool stop = false;  // kill the container once the snapshot is safe
};

struct SnapResult {
    store::SnapshotRecord record;
    images::Findings findings;  // of reading our own dump: none, unless something is wrong
    Via via = Via::runtime;
    bool staged_in_memory = true;
    std::optional<std::string> recovered;  // what an earlier, interrupted command had left
    uint64_t left_out = 0;  // processes that `docker exec` started: no children of the container's first one,
                            // so CRIU's dump of its tree does not have them
};

// Takes a snapshot. Errors: the container is as it was before, the repository too.
SnapResult snap(DockerClient& docker, store::Repository& repository, const std::string& container,
                const SnapRequest& request, const Report& report);

// The second half: reads the staged moment, stores it, commits. `wall` counts from `began`.
SnapResult store_moment(DockerClient& docker, store::Repository& repository, const Container& container,
                        FrozenMoment& moment, store::SnapshotInfo info,
                        std::chrono::steady_clock::time_point began, const Report& report);

}  // namespace cprewind::engine

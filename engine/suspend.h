// Containers over a restart of the host or of dockerd: each is snapped and stopped, and brought back where it stood.
//
// What is to be brought back stands in the repository, which outlives the restart: <repository>/suspended/<container
// id>, a JSON object with `version` 1, `name`, `began` and `snapshot` (null while it is being taken). It is written
// before the container is touched, completed when the snapshot is safe, and removed when the container runs again.
// What an observer may conclude:
//
//   no file                            nobody suspended it, or it is back
//   file, snapshot null, it runs       the suspend died before it was stopped: nothing to bring back
//   file, snapshot null, stopped       the suspend died between the stop and the note: the container's newest snapshot
//                                      since `began` is the one
//   file with snapshot                 to be brought back
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "engine/docker_client.h"
#include "engine/snap.h"
#include "store/repository.h"

namespace cprewind::engine {

// Which containers are meant: names, or all that run; of these only those that have all the labels ("key", "key=value").
struct SuspendRequest {
    std::vector<std::string> names;
    std::vector<std::string> labels;
    bool all = false;
    std::string message;
};

// What became of one of them.
struct MovedContainer {
    enum class Fate { moved, skipped, failed } fate = Fate::moved;
    std::string name;
    std::string id;
    std::string snapshot;  // name; empty when there is none
    std::string reason;    // of skipped and failed: a sentence
    std::string hint;
};

// Snaps and stops each. Skipped, and left running, is what could not be brought back; with names given that is a
// failure. Never throws for one of several.
std::vector<MovedContainer> suspend(DockerClient& docker, store::Repository& repository,
                                    const SuspendRequest& request, const Report& report);

// Brings back what was suspended: all, or those named. A container that Docker has started meanwhile (a restart policy)
// goes back, too, with a safety snapshot of what it was.
std::vector<MovedContainer> resume_suspended(DockerClient& docker, store::Repository& repository,
                                             const SuspendRequest& request, const Report& report);

// For tests: whether labels as Docker lists them have all that is wanted.
bool has_labels(const nlohmann::json& labels, const std::vector<std::string>& wanted);

}  // namespace cprewind::engine

// What is asked before a rewind, of which `rewind --dry-run` asks the same: may it be, in which way, where to.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <utility>

#include "engine/container.h"
#include "engine/rewind.h"
#include "images/checkpoint.h"

namespace cprewind::engine {

// Errors: unsupported or usage, when this container cannot be rewound to that snapshot, with what could be done.
void check_can_rewind(const Container& container, const store::SnapshotRecord& target);

// The way back, and whether it is that of a new container: in place, unless that cannot be and `recreate` is wanted.
// Errors: unsupported, when there is none.
std::pair<Via, bool> choose_way(DockerClient& docker, const Container& container,
                                const RewindRequest& request);

// Errors: unsupported, when a socket of the snapshot is bound to an interface. Docker 28 and later make a container's
// interfaces when the runtime is done, so a restore must do without them (runtime/loopback.h); before, they are there,
// with other numbers.
void check_interfaces(DockerClient& docker, const Container& container, const images::ImageSource& images,
                      const images::Checkpoint& checkpoint);

// The writable layer; `facts` is the snapshot's engine.json, which remembers it.
std::filesystem::path layer_directory_of(const Container& container, const nlohmann::json& facts);

}  // namespace cprewind::engine

// What is asked before a rewind, of which `rewind --dry-run` asks the same: may it be, in which way, where to.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <utility>

#include "engine/container.h"
#include "engine/rewind.h"

namespace cprewind::engine {

// Errors: unsupported or usage, when this container cannot be rewound to that snapshot, with what could be done.
void check_can_rewind(const Container& container, const store::SnapshotRecord& target);

// The way back, and whether it is that of a new container: in place, unless that cannot be and `recreate` is wanted.
// Errors: unsupported, when there is none.
std::pair<Via, bool> choose_way(DockerClient& docker, const Container& container,
                                const RewindRequest& request);

// The writable layer; `facts` is the snapshot's engine.json, which remembers it.
std::filesystem::path layer_directory_of(const Container& container, const nlohmann::json& facts);

}  // namespace cprewind::engine

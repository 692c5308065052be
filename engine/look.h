// A moment that is only looked at: taken like a snapshot's, never stored, gone when its owner lets it go.
#pragma once

#include <filesystem>
#include <string>

#include "engine/docker_client.h"
#include "engine/freeze.h"
#include "engine/snap.h"
#include "engine/volumes.h"

namespace cprewind::engine {

// The staging directory then holds what a snapshot does: images/, layer.tree, layer.data, volumes/ and container.json,
// under the names of engine/snapshot_files.h. Errors: as snap(); the container is as it was.
FrozenMoment look(DockerClient& docker, const std::string& container,
                  const std::filesystem::path& fallback_staging, const VolumeWish& volumes,
                  const Report& report);

}  // namespace cprewind::engine

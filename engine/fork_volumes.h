// What a fork gets where the original has volumes and directories of the host: two containers that write into the same
// files would ruin them for both.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "engine/container.h"
#include "images/volumes.h"

namespace cprewind::engine {

enum class VolumeMode {
    copy,  // new volumes with what the snapshot holds of them, or else is in the original's now; directories
           // of the host read-only
    read_only,  // the original's own, and directories of the host, read-only
    share,      // the same, writable: as the user says
    empty,  // new volumes without content (Docker fills them from the image); directories of the host read-only
};

struct ForkedVolume {
    std::string place;     // in the container
    std::string original;  // name of the original's volume
    std::string source;    // its directory on this host
    std::string name;      // of the one the fork has there, when it was made
};

// Changes a create request so that the container gets anonymous volumes of its own, labelled, where the original
// (`inspect`) has volumes: they go with the container (docker rm --volumes). Nothing when the mode lets it have the
// original's.
std::vector<ForkedVolume> give_own_volumes(nlohmann::json& body, const nlohmann::json& inspect,
                                           VolumeMode mode);

// After the container was made: finds out what its volumes are called, and copies into them what the snapshot holds of
// them (`captured`), or else what the originals have. Errors: unsupported (no directory of this host), io.
void fill_volumes(const Container& fork, VolumeMode mode, const std::vector<images::StoredVolume>& captured,
                  std::vector<ForkedVolume>& volumes);

// Makes directories of the host read-only in a create request; returns their places.
std::vector<std::string> protect_host_directories(nlohmann::json& body);

// Read-only in the images, too: CRIU gives each mount the flags that it had.
void protect_mounts(const std::filesystem::path& images, const std::set<std::string>& places);

}  // namespace cprewind::engine

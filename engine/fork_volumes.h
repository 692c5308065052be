// What a fork gets where the original has volumes and directories of the host: two containers that write into the same
// files would ruin them for both.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "engine/clone.h"
#include "engine/docker_client.h"

namespace cprewind::engine {

enum class VolumeMode {
    copy,       // new volumes with what is in the original's now; directories of the host read-only
    read_only,  // the original's own, and directories of the host, read-only
    share,      // the same, writable: as the user says
    empty,  // new volumes without content (Docker fills them from the image); directories of the host read-only
};

struct ForkedVolume {
    std::string place;     // in the container
    std::string original;  // name of the original's volume
    std::string name;      // of the one the fork has there
};

// Gives the fork called `name` its volumes: fills in `changes`, makes volumes and copies what is to be copied. What
// was made is in `made` also after an exception. Errors: unsupported, io.
void give_volumes(DockerClient& docker, const nlohmann::json& inspect, const std::string& name,
                  VolumeMode mode, const std::string& label, CloneChanges& changes,
                  std::vector<ForkedVolume>& made);

// Makes directories of the host read-only in a create request; returns their places.
std::vector<std::string> protect_host_directories(nlohmann::json& body);

// Read-only in the images, too: CRIU gives each mount the flags that it had. A file that is open for writing there stays so.
void protect_mounts(const std::filesystem::path& images, const std::set<std::string>& places);

// The label of all that `fork` makes: the snapshot's id, and what tells one run from another.
inline constexpr const char* k_fork_label = "cprewind.fork";

}  // namespace cprewind::engine

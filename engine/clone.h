// A container with the configuration of another one: what `rewind --recreate` and `fork` start from.
//
// Docker has no call for that. What `docker inspect` says is turned back into what `docker create` takes: nearly
// all of it is the same under the same names; the rest is here. Left out is what Docker chose and the user did
// not (addresses, the aliases by id, the joined container's hostname), kept is what the user chose (fixed
// addresses, aliases, labels, limits, restart policy, health check …). Volumes stay the very volumes, the
// anonymous ones too.
#pragma once

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/docker_client.h"

namespace cprewind::engine {

// In what the new container shall differ; as it is: in nothing.
struct CloneChanges {
    std::string runtime = {};                          // empty: the same
    std::string image = {};                            // empty: the same words; see pinned_image
    std::optional<nlohmann::json> port_bindings = {};  // HostConfig.PortBindings; an empty object: none
    std::optional<std::string> network = {};           // this one instead of all it was connected to
    bool fixed_addresses = true;                       // IP and MAC addresses that the user gave
    std::map<std::string, std::string> volumes = {};   // the name of a volume -> the one to use instead
    bool volumes_read_only = false;
    bool auto_remove = true;     // false: never --rm, whatever the old one was
    bool restart_policy = true;  // false: "no"
};

// What `docker create` takes, and the networks to connect afterwards (before API 1.44 a create takes one).
struct CreateRequest {
    nlohmann::json body;
    std::vector<std::pair<std::string, nlohmann::json>> further_networks;  // name, endpoint
};

// `inspect`: Docker's description of a container, of now or as a snapshot keeps it (container.json).
// Errors: damaged, when it is not one.
CreateRequest create_request(const nlohmann::json& inspect, const CloneChanges& changes);

// The words for the image of `inspect` that mean the very same image today: the user's, unless they were given
// to another image since; then its id. Errors: not_found, when the image is gone.
std::string pinned_image(DockerClient& docker, const nlohmann::json& inspect);

// Makes the container, not started, and connects all networks. Returns its id. On failure there is none.
std::string create_container(DockerClient& docker, const std::string& name, const CreateRequest& request);

// The writable layer of a container that has never been started. overlay2 tells; containerd's snapshotter does
// not, so a marker is put into the container and looked for.
std::filesystem::path find_unstarted_layer(DockerClient& docker, const std::string& id);

}  // namespace cprewind::engine

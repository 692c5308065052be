#include "engine/rewind_checks.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/text.h"
#include "engine/clone.h"
#include "engine/recreate.h"

namespace cprewind::engine {

using base::Error;
using base::ErrorKind;
using nlohmann::json;
namespace fs = std::filesystem;

namespace {

Via choose_way_back(DockerClient& docker, const Container& container, Via wanted) {
    json info = docker.info();
    json::json_pointer at("/Runtimes/" + container.runtime + "/path");
    std::string path = info.contains(at) && info.at(at).is_string() ? info.at(at).get<std::string>() : "";
    bool ours = fs::path(path).filename() == "cprewind-runtime";
    if (ours && wanted != Via::api) return Via::runtime;

    bool engine_restores = docker.version().major() < 28 || container.network_mode == "host" ||
                           container.network_mode.starts_with("container:");
    if (wanted == Via::runtime || !engine_restores) {
        throw Error(
            ErrorKind::unsupported,
            fmt::format("container {} was created with the runtime '{}', so only Docker itself could restore "
                        "it{}",
                        container.name, base::escape(container.runtime),
                        engine_restores ? ""
                                        : fmt::format(", and Docker {}'s restore is broken for network '{}'",
                                                      docker.version().engine, container.network_mode)),
            "rewind with --recreate: a new container of the same name and configuration, under cprewind's "
            "runtime, takes its place; create the next ones with --runtime cprewind, or make it the default: "
            "cprewind setup --default-runtime");
    }
    if (!docker.version().experimental) {
        throw Error(
            ErrorKind::unsupported,
            fmt::format("container {} can only be restored by Docker, whose experimental features are off",
                        container.name),
            R"(add "experimental": true to /etc/docker/daemon.json and restart dockerd)");
    }
    return Via::api;
}

// Taken of this container, or of one whose place it took (engine/recreate.h).
bool is_of(const store::SnapshotRecord& snapshot, const Container& container) {
    if (snapshot.info.container_id == container.id) return true;
    json labels = container.raw.value(json::json_pointer("/Config/Labels"), json::object());
    if (!labels.is_object() || !labels.contains(k_recreated_label)) return false;
    auto ancestors = base::split(labels.value(k_recreated_label, ""), ',');
    return std::find(ancestors.begin(), ancestors.end(), snapshot.info.container_id) != ancestors.end();
}

}  // namespace

void check_can_rewind(const Container& container, const store::SnapshotRecord& target) {
    if (container.auto_remove) {
        throw Error(
            ErrorKind::unsupported,
            fmt::format("container {} was started with --rm: Docker removes it as soon as it stops, and a "
                        "rewind stops it",
                        container.name),
            "start it without --rm to be able to rewind it");
    }
    if (!is_of(target, container)) {
        throw Error(
            ErrorKind::usage,
            fmt::format("snapshot {} is of another container ({}) than {} ({})", target.name(),
                        target.info.container_id.substr(0, 12), container.name, container.id.substr(0, 12)),
            fmt::format("cprewind log {} lists the snapshots of this one", container.name));
    }
}

fs::path layer_directory_of(const Container& container, const json& facts) {
    if (auto found = find_writable_layer(container)) return *found;
    // A stopped container of a containerd snapshotter: only the snapshot remembers the place.
    fs::path recorded = facts.value("layer_directory", "");
    std::error_code ignored;
    if (recorded.is_absolute() && fs::is_directory(recorded, ignored)) return recorded;
    throw Error(
        ErrorKind::unsupported,
        fmt::format("the writable layer of container {} cannot be found while it is stopped", container.name),
        fmt::format("start it (docker start {}) and rewind it then", container.name));
}

std::pair<Via, bool> choose_way(DockerClient& docker, const Container& container,
                                const RewindRequest& request) {
    try {
        return {choose_way_back(docker, container, request.via), false};
    } catch (const Error& error) {
        if (!request.recreate || error.kind() != ErrorKind::unsupported) throw;
    }
    our_runtime(docker);
    pinned_image(docker, container.raw);
    return {Via::runtime, true};
}

}  // namespace cprewind::engine

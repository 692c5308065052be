#include "engine/recreate.h"

#include <fmt/format.h>

#include <optional>

#include "base/error.h"
#include "engine/resume.h"

namespace cprewind::engine {
namespace {

using base::Error;
using base::ErrorKind;
using nlohmann::json;
namespace fs = std::filesystem;

std::optional<Container> find_if_there(DockerClient& docker, const std::string& name) {
    try {
        return find_container(docker, name);
    } catch (const Error& error) {
        if (error.kind() != ErrorKind::not_found) throw;
        return std::nullopt;
    }
}

// Whatever has the old one's name and is not the old one is the one that we made.
void remove_new_one(DockerClient& docker, const JournalEntry& entry) {
    auto named = find_if_there(docker, entry.container_name);
    if (!named || named->id == entry.container_id) return;
    docker.remove(named->id, false);
    end_processes_of(named->id);
}

}  // namespace

std::string our_runtime(DockerClient& docker) {
    json info = docker.info();
    json runtimes = info.value("Runtimes", json::object());
    for (const auto& [name, runtime] : runtimes.items()) {
        if (fs::path(runtime.value("path", "")).filename() == "cprewind-runtime") return name;
    }
    throw Error(ErrorKind::unavailable, "Docker does not know cprewind's runtime",
                "register it: cprewind setup");
}

std::string backup_name_of(const Container& container) {
    return fmt::format("{}-before-rewind-{}", container.name, container.id.substr(0, 8));
}

bool can_stay_frozen(const Container& container) {
    if (!container.running) return false;
    const std::string& mode = container.network_mode;
    if (mode == "none") return true;
    if (mode == "host" || mode.starts_with("container:") || !container.ports.empty()) return false;
    json networks = container.raw.value(json::json_pointer("/NetworkSettings/Networks"), json::object());
    for (const auto& [name, endpoint] : networks.items()) {
        json fixed =
            endpoint.is_object() && endpoint.contains("IPAMConfig") ? endpoint["IPAMConfig"] : json();
        if (!fixed.empty()) return false;
    }
    return true;
}

Scene recreate(DockerClient& docker, const Container& old, const Target& target, Journal& journal,
               PutBack& done) {
    const JournalEntry& entry = journal.entry();
    CloneChanges changes;
    changes.runtime = our_runtime(docker);
    changes.image = pinned_image(docker, old.raw);
    CreateRequest request = create_request(old.raw, changes);
    json& labels = request.body["Labels"];
    if (!labels.is_object()) labels = json::object();
    std::string ancestors = labels.value(k_recreated_label, "");
    labels[k_recreated_label] = ancestors.empty() ? old.id : old.id + "," + ancestors;

    docker.rename(entry.container_id, entry.backup_name);
    std::string id = create_container(docker, entry.container_name, request);
    Scene scene{id, entry.container_name, find_unstarted_layer(docker, id), Via::runtime, {}};
    done = put_in_place(docker, scene, target, journal);
    return scene;
}

void finish_recreate(DockerClient& docker, const JournalEntry& entry) {
    docker.remove(entry.container_id, false);
}

void undo_recreate(DockerClient& docker, const Target& before, Journal& journal) {
    journal.step_quietly(Step::back);
    const JournalEntry& entry = journal.entry();
    auto old = find_if_there(docker, entry.container_id);
    if (!old) return;  // it went because the new one was right
    remove_new_one(docker, entry);
    if (old->name != entry.container_name) docker.rename(old->id, entry.container_name);
    if (old->running) {
        if (old->paused && !entry.was_paused) resume_container(old->id);
        return;
    }
    if (before.images.empty()) return;  // it was stopped when we came
    PutBack ignored;
    try {
        recreate(docker, *old, before, journal, ignored);
    } catch (const Error&) {
        remove_new_one(docker, entry);
        docker.rename(old->id, entry.container_name);
        throw;
    }
    docker.remove(old->id, false);
}

}  // namespace cprewind::engine

#include "engine/resume.h"

#include <filesystem>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/error.h"
#include "base/process.h"
#include "engine/container.h"
#include "engine/docker_client.h"
#include "engine/journal.h"

namespace cprewind::engine {
namespace {

namespace fs = std::filesystem;

// A dockerd that has died is started again by its host's init within seconds.
constexpr std::chrono::seconds k_docker_patience(60);

// Where the runtime keeps the container's state. Without Docker nobody can tell which runtime it is; all that we can
// work with keep runc's state and understand runc's words.
std::string runtime_root(const std::string& id) {
    std::error_code ignored;
    for (const fs::directory_entry& entry : fs::directory_iterator("/run/docker", ignored)) {
        if (!entry.path().filename().string().starts_with("runtime-")) continue;
        if (fs::exists(entry.path() / "moby" / id / "state.json", ignored)) return entry.path() / "moby";
    }
    return {};
}

// In the runtime's words; empty when it cannot tell.
std::string status_by_runtime(const std::string& root, const std::string& id) {
    if (root.empty() || !base::find_program("runc")) return {};
    auto state = nlohmann::json::parse(base::run({"runc", "--root", root, "state", id}).out, nullptr, false);
    return state.is_object() ? state.value("status", "") : "";
}

// True when the runtime says that it runs now.
bool resume_by_runtime(const std::string& root, const std::string& id) {
    if (root.empty()) return false;
    base::run({"runc", "--root", root, "resume", id});  // fails when it is not paused
    return status_by_runtime(root, id) == "running";
}

}  // namespace

void resume_container(const std::string& id) {
    try {
        DockerClient().unpause(id);
        // A runc that was killed while it paused has frozen what Docker never held for paused.
        std::string root = runtime_root(id);
        if (status_by_runtime(root, id) == "paused" && !resume_by_runtime(root, id)) {
            throw base::Error(base::ErrorKind::failed,
                              "container " + id.substr(0, 12) + " is frozen, and runc cannot let it run on",
                              "see runc --root " + root + " resume " + id);
        }
    } catch (const base::Error& error) {
        std::string root = runtime_root(id);
        if (error.kind() == base::ErrorKind::not_found || !resume_by_runtime(root, id)) throw;
        // It runs, and Docker's shim, which was not asked, holds it for paused, and so will Docker: the note stays
        // until the two agree.
        if (!wait_for_docker(k_docker_patience)) return;
        DockerClient docker;
        if (find_container(docker, id).paused) {
            base::run({"runc", "--root", root, "pause", id});
            docker.unpause(id);
        }
    }
    drop_freeze_note(id);
}

bool wait_for_docker(std::chrono::seconds patience) {
    auto deadline = std::chrono::steady_clock::now() + patience;
    for (;;) {
        try {
            DockerClient docker;
            docker.containers();  // it answers /version before it knows its containers
            return true;
        } catch (const base::Error& error) {
            if (error.kind() != base::ErrorKind::unavailable) return true;  // whoever asks will be told
        }
        if (std::chrono::steady_clock::now() >= deadline) return false;
        std::this_thread::sleep_for(std::chrono::milliseconds(200));
    }
}

}  // namespace cprewind::engine

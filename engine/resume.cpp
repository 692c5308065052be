#include "engine/resume.h"

#include <filesystem>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/error.h"
#include "base/process.h"
#include "engine/docker_client.h"
#include "engine/journal.h"

namespace cprewind::engine {
namespace {

namespace fs = std::filesystem;

// True when the runtime says that it runs now. Without Docker nobody can tell which runtime it is; all that we
// can work with keep runc's state and understand runc's words.
bool resume_by_runtime(const std::string& id) {
    std::error_code ignored;
    for (const fs::directory_entry& entry : fs::directory_iterator("/run/docker", ignored)) {
        if (!entry.path().filename().string().starts_with("runtime-")) continue;
        std::string root = (entry.path() / "moby").string();
        if (!fs::exists(fs::path(root) / id / "state.json", ignored)) continue;
        base::run({"runc", "--root", root, "resume", id});  // fails when it is not paused
        auto state =
            nlohmann::json::parse(base::run({"runc", "--root", root, "state", id}).out, nullptr, false);
        return state.is_object() && state.value("status", "") == "running";
    }
    return false;
}

}  // namespace

void resume_container(const std::string& id) {
    try {
        DockerClient().unpause(id);
    } catch (const base::Error& error) {
        if (error.kind() == base::ErrorKind::not_found || !resume_by_runtime(id)) throw;
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

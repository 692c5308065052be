#include "engine/put_back.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <thread>

#include "base/error.h"
#include "base/fd.h"
#include "base/process.h"
#include "base/text.h"
#include "engine/connections.h"
#include "engine/criu_log.h"
#include "engine/overlay_mounts.h"
#include "engine/resume.h"
#include "engine/snapshot_files.h"
#include "engine/timers.h"
#include "images/directory_source.h"
#include "runtime/plan.h"

namespace cprewind::engine {
namespace {

using base::Error;
using base::ErrorKind;
using nlohmann::json;
using std::chrono::steady_clock;
namespace fs = std::filesystem;

// How long a runtime that took our plan may be silent before we give up on it.
constexpr std::chrono::seconds k_runtime_patience(300);
// A dockerd that has died is started again by its host's init within seconds, and reads its containers.
constexpr std::chrono::seconds k_docker_patience(60);
// A restore that lost its runtime may start one more process while we kill the others.
constexpr std::chrono::milliseconds k_quiet(300);

constexpr const char* k_layer_tree_name = "layer.tree";
constexpr const char* k_before_name = "before.json";

// A failed `docker start` with the cause from CRIU's log, if there is one.
Error explain_start(const Scene& scene, const Error& start_error) {
    fs::path taken = runtime::taken_directory(runtime::state_directory(), scene.container_id);
    std::string log;
    try {
        log = base::read_file(taken / "restore.log");
    } catch (const Error&) {
        // Docker's own restore keeps its log to itself.
    }
    keep_failed_log(log);
    auto cause = explain_criu_log(log);
    return Error(cause ? ErrorKind::failed : start_error.kind(),
                 cause
                     ? fmt::format("CRIU cannot restore container {}: {}", scene.container_name, cause->cause)
                     : start_error.message(),
                 cause ? cause->remedy : start_error.hint(), log.empty() ? start_error.detail() : log);
}

}  // namespace

void start_by_runtime(DockerClient& docker, const Scene& scene, const Target& target) {
    fs::path state = runtime::state_directory();
    runtime::Plan plan;
    plan.images = target.images.string();
    plan.options = criu_options();
    plan.addresses = target.addresses;
    if (target.close_connections) {
        fs::path config = target.images.parent_path() / "criu.conf";
        // As a whole: others may be started from the same images.
        base::replace_file(config, "tcp-close\n");
        plan.criu_config = config.string();
        std::erase(plan.options, "--tcp-established");
    }
    runtime::leave_plan(state, scene.container_id, plan);
    try {
        docker.start(scene.container_id);
    } catch (const Error& error) {
        Error explained = explain_start(scene, error);
        // A runtime that outlives a dockerd that died is waited for: what it began must not come up later.
        auto deadline = steady_clock::now() + k_runtime_patience;
        while (runtime::is_at_work(state, scene.container_id) && steady_clock::now() < deadline) {
            std::this_thread::sleep_for(std::chrono::milliseconds(20));
        }
        runtime::drop_plan(state, scene.container_id);
        throw explained;
    }
    bool restored = runtime::outcome_of(state, scene.container_id) == runtime::Outcome::restored;
    // Whatever became of it: a plan that stayed would be obeyed by somebody's later `docker start`.
    runtime::drop_plan(state, scene.container_id);
    if (!restored) {
        throw Error(ErrorKind::failed,
                    fmt::format("Docker started container {} without asking the runtime to restore it",
                                scene.container_name),
                    "see cprewind doctor: is the registered runtime this cprewind's own?");
    }
}

namespace {

void start_by_api(DockerClient& docker, const Scene& scene, const Target& target) {
    std::string name = "cprewind-restore";
    fs::path checkpoint = scene.docker_root / "containers" / scene.container_id / "checkpoints" / name;
    std::error_code ignored;
    fs::remove_all(checkpoint, ignored);
    fs::create_directories(checkpoint.parent_path());
    fs::copy(target.images, checkpoint, fs::copy_options::recursive);
    try {
        docker.start(scene.container_id, name);
    } catch (const Error&) {
        fs::remove_all(checkpoint, ignored);
        throw;
    }
    fs::remove_all(checkpoint, ignored);
}

}  // namespace

void fit(Target& target, const images::Checkpoint& checkpoint) {
    arm_expired_timers(target.images, checkpoint);
    target.close_connections = talks_to_outside(checkpoint);
    target.addresses = own_addresses(checkpoint);
}

Target target_of(const ReadyMoment& moment) {
    Target target{moment.images, moment.layer, moment.layer_data,
                  moment.engine_facts.value("was_paused", false)};
    fit(target, moment.checkpoint);
    return target;
}

PutBack put_in_place(DockerClient& docker, const Scene& scene, const Target& target, Journal& journal) {
    if (find_container(docker, scene.container_id).running) docker.kill(scene.container_id);
    bool back = journal.entry().step == Step::back;
    // After the killing: a dockerd that has just come back may have held remains for a container that runs.
    if (back) end_remains(docker, scene.container_id);
    if (!back) journal.step(Step::layer);
    images::DirectorySource staging(target.layer_data.parent_path());
    auto data = staging.open(target.layer_data.filename().string());
    PutBack changes;
    changes.layer = restore_layer(scene.layer_directory, target.layer, data.get());
    refresh_mounts_over(scene.layer_directory);
    changes.volumes = restore_volumes(target.volumes);
    if (target.images.empty()) return changes;
    if (!back) journal.step(Step::start);
    changes.started_ns = std::chrono::system_clock::now().time_since_epoch() / std::chrono::nanoseconds(1);
    if (scene.via == Via::runtime) {
        start_by_runtime(docker, scene, target);
    } else {
        start_by_api(docker, scene, target);
    }
    if (target.paused) docker.pause(scene.container_id);
    return changes;
}

void put_back(DockerClient& docker, const Scene& scene, const Target& before, Journal& journal) {
    journal.step_quietly(Step::back);
    if (!wait_for_docker(k_docker_patience)) {
        throw Error(ErrorKind::unavailable, "Docker has died and does not come back",
                    "start it (systemctl start docker)");
    }
    settle_restore(docker, scene.container_id);
    runtime::drop_plan(runtime::state_directory(), scene.container_id);
    put_in_place(docker, scene, before, journal);
}

void save_before(const fs::path& directory, const Target& before, bool sync) {
    base::replace_file(directory / k_layer_tree_name, images::encode_layer(before.layer));
    save_targets(directory, before.volumes, sync);
    json facts = {{"images", !before.images.empty()},
                  {"layer_data", before.layer_data.filename().string()},
                  {"paused", before.paused},
                  {"close_connections", before.close_connections},
                  {"addresses", before.addresses}};
    if (sync) base::sync_file(base::open_file(before.layer_data, O_RDONLY).get(), before.layer_data.string());
    // Last: with it the rest is there.
    base::replace_file(directory / k_before_name, facts.dump());
}

std::optional<Target> load_before(const fs::path& directory) {
    try {
        json facts = json::parse(base::read_file(directory / k_before_name));
        Target before;
        if (facts.at("images").get<bool>()) before.images = directory / "images";
        before.paused = facts.at("paused").get<bool>();
        before.close_connections = facts.at("close_connections").get<bool>();
        before.addresses = facts.at("addresses").get<std::vector<std::string>>();
        before.layer_data = directory / facts.at("layer_data").get<std::string>();
        uint64_t size = fs::file_size(before.layer_data);
        images::Findings findings;
        before.layer = images::parse_layer(base::read_file(directory / k_layer_tree_name), size, findings);
        before.volumes = load_targets(directory, findings);
        if (!findings.empty()) return std::nullopt;
        return before;
    } catch (const std::exception&) {
        return std::nullopt;
    }
}

bool settle_restore(DockerClient& docker, const std::string& container_id) {
    fs::path state = runtime::state_directory();
    auto deadline = steady_clock::now() + k_runtime_patience;
    for (;;) {
        bool over = !runtime::is_at_work(state, container_id) || steady_clock::now() >= deadline;
        // Docker answers this only when it is not in the middle of starting the container on our behalf.
        bool running = find_container(docker, container_id).running;
        // Looked at again: a Docker that was about to call the runtime has done so now.
        if (over && !runtime::is_at_work(state, container_id)) {
            return running && runtime::outcome_of(state, container_id) == runtime::Outcome::restored;
        }
        if (steady_clock::now() >= deadline) return false;
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
}

void end_remains(DockerClient& docker, const std::string& container_id) {
    Container container = find_container(docker, container_id);
    if (container.running) return;
    auto runtime = find_runtime(docker, container);
    if (runtime) {
        runtime::release_mounts(fs::path(runtime->root) / container_id);
        base::run({runtime->binary, "--root", runtime->root, "delete", "--force", container_id});
    }
    if (!processes_named_after(container_id).empty()) end_processes_of(container_id);
}

void end_processes_of(const std::string& container_id) {
    auto quiet_since = steady_clock::now();
    auto deadline = quiet_since + k_docker_patience;
    while (steady_clock::now() - quiet_since < k_quiet && steady_clock::now() < deadline) {
        for (pid_t pid : processes_named_after(container_id)) {
            ::kill(pid, SIGKILL);
            quiet_since = steady_clock::now();
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
}

}  // namespace cprewind::engine

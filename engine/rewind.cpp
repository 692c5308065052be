#include "engine/rewind.h"

#include <fmt/format.h>
#include <sys/socket.h>

#include <algorithm>
#include <fstream>
#include <thread>

#include "base/error.h"
#include "base/fd.h"
#include "engine/criu_log.h"
#include "engine/guard.h"
#include "engine/materialise.h"
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

// A state of the container that can be put in place: where we go, and where we came from.
struct Target {
    fs::path images;  // empty: the container is not to run (it did not when we came)
    images::LayerTree layer;
    fs::path layer_data;
    bool paused = false;
    bool close_connections = false;
};

// Who we are dealing with and how: fixed before anything is touched.
struct Scene {
    std::string container_id;
    std::string container_name;
    fs::path layer_directory;
    Via via = Via::runtime;
    fs::path docker_root;  // for Via::api
};

// TCP to anywhere but the container's own loopback has moved on at its other end.
bool talks_to_outside(const images::Checkpoint& checkpoint) {
    constexpr uint32_t k_listen = 10;  // TCP_LISTEN, include/net/tcp_states.h
    for (const auto& [id, file] : checkpoint.files) {
        if (!file.socket || file.kind != images::FileKind::inet_socket) continue;
        const images::Socket& socket = *file.socket;
        if (socket.type != SOCK_STREAM || socket.state == k_listen || socket.remote.empty()) continue;
        bool loopback = socket.remote.starts_with("127.") || socket.remote.starts_with("[::1]") ||
                        socket.remote.starts_with("[::ffff:127.");
        bool unconnected = socket.remote.starts_with("0.0.0.0:") || socket.remote.starts_with("[::]:");
        if (!loopback && !unconnected) return true;
    }
    return false;
}

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
            "create containers with --runtime cprewind, or make it the default: cprewind setup "
            "--default-runtime");
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
    return Error(ErrorKind::failed,
                 cause
                     ? fmt::format("CRIU cannot restore container {}: {}", scene.container_name, cause->cause)
                     : start_error.message(),
                 cause ? cause->remedy : start_error.hint(), log.empty() ? start_error.detail() : log);
}

void start_by_runtime(DockerClient& docker, const Scene& scene, const Target& target) {
    fs::path state = runtime::state_directory();
    runtime::Plan plan;
    plan.images = target.images.string();
    plan.options = criu_options();
    if (target.close_connections) {
        fs::path config = target.images.parent_path() / "criu.conf";
        std::ofstream(config) << "tcp-close\n";
        plan.criu_config = config.string();
        std::erase(plan.options, "--tcp-established");
    }
    runtime::leave_plan(state, scene.container_id, plan);
    try {
        docker.start(scene.container_id);
    } catch (const Error& error) {
        Error explained = explain_start(scene, error);
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

// Kills what runs and puts `target` in its place.
std::vector<LayerChange> put_in_place(DockerClient& docker, const Scene& scene, const Target& target) {
    if (find_container(docker, scene.container_id).running) docker.kill(scene.container_id);
    images::DirectorySource staging(target.layer_data.parent_path());
    auto data = staging.open(target.layer_data.filename().string());
    auto changes = restore_layer(scene.layer_directory, target.layer, data.get());
    if (target.images.empty()) return changes;
    if (scene.via == Via::runtime) {
        start_by_runtime(docker, scene, target);
    } else {
        start_by_api(docker, scene, target);
    }
    if (target.paused) docker.pause(scene.container_id);
    return changes;
}

// What the guard does when we die between the kill and the success: a restore that is under way is waited for
// and, if it succeeds, stands; anything else goes back to where we came from.
void finish_or_go_back(const Scene& scene, const Target& before) {
    fs::path state = runtime::state_directory();
    DockerClient docker;
    // Docker answers this only when it is not in the middle of starting the container on our behalf.
    find_container(docker, scene.container_id);
    auto deadline = steady_clock::now() + k_runtime_patience;
    while (runtime::outcome_of(state, scene.container_id) == runtime::Outcome::taken &&
           steady_clock::now() < deadline) {
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    bool restored = runtime::outcome_of(state, scene.container_id) == runtime::Outcome::restored;
    if (restored && find_container(docker, scene.container_id).running) {
        runtime::drop_plan(state, scene.container_id);
        return;
    }
    put_in_place(docker, scene, before);
}

void resume_quietly(DockerClient& docker, const std::string& id) {
    try {
        docker.unpause(id);
    } catch (const Error&) {
        // The failure that is being reported matters more.
    }
}

// After a failure: back to where we came from, then the failure again, with what became of the container.
[[noreturn]] void go_back(DockerClient& docker, const Scene& scene, const Target& before, const Error& error,
                          const std::optional<store::SnapshotRecord>& safety) {
    std::string state;
    try {
        put_in_place(docker, scene, before);
        state = before.images.empty() ? "its files are as they were before; it is stopped, as before"
                                      : "it runs again exactly where it was before";
    } catch (const Error& second) {
        // Perhaps it was never killed: then at least it must not stay frozen.
        if (!before.images.empty() && !before.paused) resume_quietly(docker, scene.container_id);
        throw Error(ErrorKind::failed,
                    fmt::format("{}; and putting container {} back failed as well: {}", error.message(),
                                scene.container_name, second.message()),
                    safety ? fmt::format("its state of before is kept as {}: cprewind rewind {} --to {}",
                                         safety->name(), scene.container_name, safety->name())
                           : error.hint(),
                    error.detail());
    }
    throw Error(error.kind(), fmt::format("{}; {}", error.message(), state), error.hint(), error.detail());
}

// What a person would look at first: does it run, and is it what we asked for?
uint64_t verify_running(const Scene& scene, const Container& now, const images::Checkpoint& wanted) {
    auto processes = processes_of(now);
    if (!now.running || processes.empty()) {
        throw Error(ErrorKind::failed,
                    fmt::format("container {} was restored and ended at once", scene.container_name),
                    fmt::format("see its log: docker logs {}", scene.container_name));
    }
    std::string comm = base::read_file(fmt::format("/proc/{}/comm", now.init_pid));
    std::string expected = wanted.processes.front().comm;
    if (base::trim(comm) != expected) {
        throw Error(ErrorKind::failed,
                    fmt::format("container {} runs '{}' where the snapshot has '{}'", scene.container_name,
                                base::escape(base::trim(comm)), base::escape(expected)));
    }
    return processes.size();
}

void check_can_rewind(const Container& container, const store::SnapshotRecord& target) {
    if (container.auto_remove) {
        throw Error(
            ErrorKind::unsupported,
            fmt::format("container {} was started with --rm: Docker removes it as soon as it stops, and a "
                        "rewind stops it",
                        container.name),
            "start it without --rm to be able to rewind it");
    }
    if (target.info.container_id != container.id) {
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

}  // namespace

RewindResult rewind(DockerClient& docker, store::Repository& repository, const std::string& name,
                    const store::SnapshotRecord& record, const RewindRequest& request, const Report& report) {
    auto began = steady_clock::now();
    ContainerLock lock(find_container(docker, name).id,
                       [&] { report("waiting for another cprewind", 0, 0); });
    Container container = find_container(docker, name);
    check_can_rewind(container, record);
    RewindResult result;
    result.target = record;
    result.via = choose_way_back(docker, container, request.via);

    Staging staging(choose_staging(2 * record.raw_bytes, repository.staging_path()));
    ReadyMoment ready = materialise(repository, record, staging.path(), report);
    Scene scene{container.id, container.name, layer_directory_of(container, ready.engine_facts), result.via,
                docker.info().value("DockerRootDir", "/var/lib/docker")};
    Target target{ready.images, ready.layer, ready.layer_data, ready.engine_facts.value("was_paused", false),
                  talks_to_outside(ready.checkpoint)};
    result.connections_closed = target.close_connections;

    Target before;
    FrozenMoment moment;
    std::unique_ptr<Freeze> freeze;
    std::unique_ptr<LayerCapture> stopped_layer;
    if (container.running) {
        report("freezing", 0, 0);
        moment = take_moment(docker, container, {Via::automatic, repository.staging_path(), lock}, &freeze);
        if (request.safety) {
            store::SnapshotInfo info;
            info.kind = store::SnapshotKind::safety;
            info.message = fmt::format("before rewind to {}", record.name());
            result.safety =
                store_moment(docker, repository, container, moment, std::move(info), began, report).record;
        } else {
            moment.layer->finish();
        }
        before = {moment.images(), moment.layer->tree(), moment.layer->data_path(), container.paused, false};
    } else {
        stopped_layer = std::make_unique<LayerCapture>(scene.layer_directory, staging.path() / "before.data");
        stopped_layer->pass();
        stopped_layer->finish();
        before = {{}, stopped_layer->tree(), stopped_layer->data_path(), false, false};
    }

    report("rewinding", 0, 0);
    auto killed = steady_clock::now();
    result.prepared = killed - began;
    std::vector<int> holds = {lock.hold_fd(), staging.hold_fd()};
    if (moment.staging) holds.push_back(moment.staging->hold_fd());
    Guard guard([&scene, &before] { finish_or_go_back(scene, before); }, holds);
    if (freeze) freeze->abandon();
    try {
        result.layer_changes = put_in_place(docker, scene, target);
        Container now = find_container(docker, container.id);
        result.processes = verify_running(scene, now, ready.checkpoint);
        if (container.running && now.ports != container.ports) result.new_ports = now.ports;
        result.down = steady_clock::now() - killed;
    } catch (const Error& error) {
        try {
            go_back(docker, scene, before, error, result.safety);
        } catch (...) {
            guard.disarm();
            throw;
        }
    }
    guard.disarm();
    repository.set_head(container.id, record.id);
    return result;
}

}  // namespace cprewind::engine

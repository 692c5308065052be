#include "engine/freeze.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/text.h"
#include "engine/doctor_container.h"
#include "engine/journal.h"
#include "engine/resume.h"
#include "engine/start_times.h"

namespace cprewind::engine {
namespace {

using base::Error;
using base::ErrorKind;
namespace fs = std::filesystem;

// What the images take beyond the resident memory, at most: tables, stacks of CRIU's own, small containers.
constexpr uint64_t k_dump_overhead = 32u << 20;
// A shell that does nothing but start programs was inside vfork at every third pause: 30 times in a row never
// happens.
constexpr int k_vfork_tries = 30;

std::string status_field(const std::string& status, std::string_view key) {
    for (const std::string& line : base::split(status, '\n')) {
        if (line.starts_with(key)) return std::string(base::trim(std::string_view(line).substr(key.size())));
    }
    return {};
}

bool have_capability(unsigned number) {
    std::string text = status_field(base::read_file("/proc/self/status"), "CapEff:");
    return (std::stoull(text, nullptr, 16) >> number & 1) != 0;
}

std::string status_of(pid_t pid) {
    try {
        return base::read_file(fmt::format("/proc/{}/status", pid));
    } catch (const Error&) {
        return {};  // it has ended meanwhile
    }
}

// PTRACE_SEIZE of a stopped process returns when it has taken note, which the freezer of cgroup v1 does not let it
// (ptrace_attach waits in JOBCTL_TRAPPING; seen with Linux 6.18). CRIU's own freeze meets the same.
std::optional<pid_t> find_unseizable(const Container& container, const std::vector<pid_t>& processes) {
    std::string groups;
    try {
        groups = base::read_file(fmt::format("/proc/{}/cgroup", container.init_pid));
    } catch (const Error&) {
    }
    // On a host with both, all processes have a place in v1's freezer; who is frozen by it has one of its own.
    size_t freezer = groups.find(":freezer:");
    if (freezer == std::string::npos) return std::nullopt;
    if (groups.substr(freezer, groups.find('\n', freezer) - freezer).find(container.id) == std::string::npos)
        return std::nullopt;
    for (pid_t pid : processes) {
        if (status_field(status_of(pid), "State:").starts_with('T')) return pid;
    }
    return std::nullopt;
}

uint64_t log_size_of(const Container& container) {
    struct stat st {};
    if (container.log_path.empty() || ::stat(container.log_path.c_str(), &st) != 0) return 0;
    return static_cast<uint64_t>(st.st_size);
}

}  // namespace

Freeze::Freeze(DockerClient& docker, const Container& container, std::vector<int> holds)
    : docker_(docker),
      container_(container),
      guard_(
          [id = container.id, paused = container.paused] {
              if (!paused) resume_container(id);
          },
          std::move(holds)) {
    if (container_.paused) return;
    write_freeze_note(container_.id);
    since_ = std::chrono::steady_clock::now();
    docker_.pause(container_.id);
    for (int tries = 0; auto pid = find_vfork(processes_of(container_)); ++tries) {
        if (tries == k_vfork_tries) {
            throw Error(
                ErrorKind::failed,
                fmt::format(
                    "process {} of container {} was in the middle of starting another each of {} times "
                    "that it was paused",
                    *pid, container_.name, tries + 1),
                "try again");
        }
        docker_.unpause(container_.id);
        since_ = std::chrono::steady_clock::now();
        docker_.pause(container_.id);
    }
}

Freeze::~Freeze() {
    if (!holding_) return;
    try {
        if (!container_.paused) resume_container(container_.id);
        guard_.disarm();
    } catch (const std::exception&) {
        // Not disarmed: the guard, destroyed next, tries once more on a connection of its own.
    }
}

void Freeze::resume() {
    CPREWIND_CHECK(holding_);
    if (!container_.paused) {
        try {
            docker_.unpause(container_.id);
            drop_freeze_note(container_.id);
        } catch (const Error&) {
            // Docker has died meanwhile: that costs some time, not the snapshot. The note stays where Docker could
            // not be told: `recover` sees to that.
            resume_container(container_.id);
        }
    }
    holding_ = false;
    guard_.disarm();
}

void Freeze::abandon() {
    holding_ = false;
    guard_.disarm();
    if (!container_.paused) drop_freeze_note(container_.id);
}

void check_can_dump(const Container& container, const std::vector<pid_t>& processes) {
    if (::geteuid() != 0) {
        throw Error(ErrorKind::permission, "dumping the memory of a container needs root",
                    "run: sudo cprewind …");
    }
    if (!container.running || container.restarting) {
        throw Error(ErrorKind::failed,
                    fmt::format("container {} is {}: only a running container has a state to snap",
                                container.name, container.restarting ? "restarting" : "not running"),
                    fmt::format("start it first: docker start {}", container.name));
    }
    if (auto pid = find_unseizable(container, processes)) {
        throw Error(
            ErrorKind::unsupported,
            fmt::format(
                "process {} of container {} is stopped (SIGSTOP, Ctrl-Z), and on cgroup v1 CRIU would "
                "wait for ever for a process that is both stopped and frozen",
                *pid, container.name),
            fmt::format("let it go on: kill -CONT {}; or run Docker on cgroup v2", *pid));
    }
    constexpr unsigned k_cap_sys_resource = 24;
    if (have_capability(k_cap_sys_resource)) return;
    for (pid_t pid : processes) {
        std::string uid = status_field(status_of(pid), "Uid:");
        if (uid.empty() || uid.starts_with("0\t")) continue;
        throw Error(
            ErrorKind::unsupported,
            fmt::format(
                "process {} of container {} runs as user {}, and this host denies us CAP_SYS_RESOURCE, "
                "without which CRIU can only dump root's processes",
                pid, container.name, uid.substr(0, uid.find('\t'))),
            "run cprewind with full root capabilities (not inside a restricted container)");
    }
}

FrozenMoment take_moment(DockerClient& docker, const Container& container, const FreezeRequest& request,
                         std::unique_ptr<Freeze>* keep_frozen) {
    std::vector<pid_t> processes = processes_of(container);
    check_can_dump(container, processes);
    refuse_certain_failures(container, processes);
    FrozenMoment moment;
    moment.method = choose_method(docker, container, request.via);
    auto layer = find_writable_layer(container);
    if (!layer) {
        throw Error(
            ErrorKind::unsupported,
            fmt::format("the writable layer of container {} is not visible from here", container.name),
            "run cprewind in the mount namespace of dockerd");
    }
    moment.layer_directory = *layer;

    uint64_t expected =
        estimate_dump_bytes(processes) + k_dump_overhead + estimate_volume_bytes(request.volumes);
    StagingPlace place = choose_staging(expected, request.fallback_staging);
    if (place.free_bytes < expected) {
        throw Error(ErrorKind::io,
                    fmt::format("the dump of container {} may need {}, and {} has {} left", container.name,
                                base::human_bytes(expected), place.directory.string(),
                                base::human_bytes(place.free_bytes)),
                    "free some space, or name another place: CPREWIND_STAGING=/dir");
    }
    moment.staged_in_memory = place.in_memory;
    moment.staging = std::make_unique<Staging>(place);
    moment.layer = std::make_unique<LayerCapture>(moment.layer_directory,
                                                  moment.staging->path() / "layer.data", request.before);
    moment.volumes = std::make_unique<VolumesCapture>(request.volumes, moment.staging->path());
    // While it still runs: copy the layer, so that only what changes from here on is left for the freeze.
    moment.layer->pass();
    moment.volumes->pass();

    auto freeze = std::make_unique<Freeze>(docker, container, std::vector<int>{request.lock.hold_fd()});
    moment.taken_at = std::chrono::system_clock::now();
    dump(docker, container, moment.method, moment.images(), moment.work(),
         {freeze->hold_fd(), moment.staging->hold_fd(), request.lock.hold_fd()});
    moment.layer->pass();
    moment.volumes->pass();
    moment.log_size = log_size_of(container);
    processes = processes_of(container);
    moment.processes = processes.size();
    moment.started = start_times_inside(processes, container.init_pid);
    if (keep_frozen != nullptr) {
        *keep_frozen = std::move(freeze);
    } else {
        freeze->resume();
        moment.stall = std::chrono::steady_clock::now() - freeze->since();
    }
    return moment;
}

}  // namespace cprewind::engine

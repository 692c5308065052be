#include "engine/doctor_container.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/error.h"
#include "base/fd.h"
#include "base/text.h"
#include "engine/doctor.h"
#include "engine/doctor_process.h"
#include "engine/staging.h"

namespace cprewind::engine {
namespace {

using base::Error;
using base::ErrorKind;
using nlohmann::json;
namespace fs = std::filesystem;

std::string text_in(const json& raw, const char* pointer) {
    json::json_pointer at(pointer);
    return raw.contains(at) && raw.at(at).is_string() ? raw.at(at).get<std::string>() : "";
}

void examine_configuration(DockerClient& docker, const Container& container,
                           std::vector<ContainerFinding>& findings) {
    if (container.auto_remove) {
        findings.push_back({Effect::rewind_fails, "--rm", "Docker removes the container when it stops",
                            "a rewind stops it, so there is nothing left to rewind; fork works",
                            "start it without --rm", 0, -1});
    }
    json info = docker.info();
    json::json_pointer at("/Runtimes/" + container.runtime + "/path");
    fs::path runtime = info.contains(at) && info.at(at).is_string() ? info.at(at).get<std::string>() : "";
    bool engine_restores = docker.version().major() < 28 || container.network_mode == "host" ||
                           container.network_mode.starts_with("container:");
    if (runtime.filename() != "cprewind-runtime" && !(engine_restores && docker.version().experimental)) {
        findings.push_back({Effect::rewind_fails, "runtime",
                            fmt::format("created with '{}' on Docker {}", base::escape(container.runtime),
                                        docker.version().engine),
                            "it can be snapped and forked, but not be rewound in place",
                            "create it with --runtime cprewind, or: cprewind setup --default-runtime", 0,
                            -1});
    }
    if (!find_runtime(docker, container) && container.running) {
        findings.push_back(
            {docker.version().experimental ? Effect::lost : Effect::snap_fails, "runtime state",
             fmt::format("the state of its runtime '{}' is in no runc directory",
                         base::escape(container.runtime)),
             "only Docker's own checkpoint is left: slower, and without locks, TCP and terminals",
             "create it with --runtime runc or cprewind", 0, -1});
    }
    std::string pid_mode = text_in(container.raw, "/HostConfig/PidMode");
    if (pid_mode == "host" || pid_mode.starts_with("container:")) {
        findings.push_back({pid_mode == "host" ? Effect::rewind_fails : Effect::snap_fails,
                            "shared pid namespace", "--pid " + base::escape(pid_mode),
                            pid_mode == "host"
                                ? "a restore needs every process id of then, and others may have taken them"
                                : "CRIU cannot dump a pid namespace without its first process",
                            "start it without --pid", 0, -1});
    }
    if (text_in(container.raw, "/HostConfig/UsernsMode").empty() && info.contains("SecurityOptions") &&
        info["SecurityOptions"].dump().find("name=userns") != std::string::npos) {
        findings.push_back({Effect::rewind_fails, "user namespaces", "dockerd runs with --userns-remap",
                            "restoring into a user namespace is untried", "start it with --userns host", 0,
                            -1});
    }
}

// Shared memory of System V that others have, too.
void examine_ipc(const Container& container, const std::vector<pid_t>& processes,
                 std::vector<ContainerFinding>& findings) {
    std::string mode = text_in(container.raw, "/HostConfig/IpcMode");
    if (mode != "host" && !mode.starts_with("container:")) return;
    for (pid_t pid : processes) {
        std::string maps;
        try {
            maps = base::read_file(fmt::format("/proc/{}/maps", pid));
        } catch (const Error&) {
            continue;
        }
        if (maps.find("/SYSV") == maps.npos) continue;
        findings.push_back({Effect::snap_fails, "shared System V memory",
                            fmt::format("{}, with --ipc {}", process_label(pid), base::escape(mode)),
                            "CRIU dumps segments only in an IPC namespace of the container's own",
                            "start it without --ipc", pid, -1});
        return;
    }
}

// Those that are no descendants of the container's first process: `docker exec` started them.
void examine_strangers(const Container& container, const std::vector<pid_t>& processes,
                       std::vector<ContainerFinding>& findings) {
    std::map<pid_t, pid_t> parent;
    for (pid_t pid : processes)
        parent[pid] = static_cast<pid_t>(base::parse_number(status_of(pid, "PPid:")).value_or(0));
    for (pid_t pid : processes) {
        pid_t top = pid;
        for (size_t steps = 0; steps <= processes.size() && top != container.init_pid && parent.contains(top);
             ++steps)
            top = parent[top];
        if (top == container.init_pid || parent[pid] == 0) continue;
        findings.push_back({Effect::lost, "docker exec",
                            fmt::format("{} was started from outside", process_label(pid)),
                            "it is no child of the container's first process, so a snapshot does not have "
                            "it, and a rewind ends it",
                            "end docker exec sessions, or start it again afterwards", pid, -1});
    }
}

void examine_capabilities(const std::vector<pid_t>& processes, std::vector<ContainerFinding>& findings) {
    uint64_t effective = base::parse_address(status_of(::getpid(), "CapEff:")).value_or(0);
    constexpr unsigned k_cap_sys_resource = 24;  // linux/capability.h
    if ((effective >> k_cap_sys_resource & 1) != 0) return;
    for (pid_t pid : processes) {
        std::string uid = status_of(pid, "Uid:");
        if (uid.empty() || uid.starts_with("0\t")) continue;
        findings.push_back(
            {Effect::snap_fails, "user without CAP_SYS_RESOURCE",
             fmt::format("{} runs as user {}", process_label(pid), uid.substr(0, uid.find('\t'))),
             "without CAP_SYS_RESOURCE, which this host denies, CRIU can only dump root's processes",
             "run cprewind with full root capabilities", pid, -1});
        return;
    }
}

void examine_mounts(const Container& container, std::vector<ContainerFinding>& findings) {
    std::set<std::string> declared;
    for (const json& mount : container.raw.value("Mounts", json::array()))
        declared.insert(mount.value("Destination", ""));
    std::string table;
    try {
        table = base::read_file(fmt::format("/proc/{}/mountinfo", container.init_pid));
    } catch (const Error&) {
        return;
    }
    for (const std::string& line : base::split(table, '\n')) {
        size_t dash = line.find(" - ");
        auto head = base::split(std::string_view(line).substr(0, std::min(dash, line.size())), ' ');
        if (dash == line.npos || head.size() < 5 || declared.contains(head[4])) continue;
        std::string kind = base::split(std::string_view(line).substr(dash + 3), ' ')[0];
        if (!kind.starts_with("fuse") && !kind.starts_with("nfs") && kind != "cifs" && kind != "9p" &&
            kind != "autofs")
            continue;
        findings.push_back(
            {Effect::snap_fails, "file system",
             fmt::format("{} is mounted at {} from inside", base::escape(kind), base::escape(head[4])),
             "CRIU cannot dump it", "mount it on the host and declare it with docker run -v", 0, -1});
    }
}

void examine_space(const std::vector<pid_t>& processes, const fs::path& repository,
                   std::vector<ContainerFinding>& findings) {
    uint64_t bytes = estimate_dump_bytes(processes);
    StagingPlace place = choose_staging(bytes, repository);
    if (place.free_bytes < bytes) {
        findings.push_back({Effect::snap_fails, "space",
                            fmt::format("{} in memory, {} free in {}", base::human_bytes(bytes),
                                        base::human_bytes(place.free_bytes), place.directory.string()),
                            "the dump does not fit",
                            "free some space, or name another place: CPREWIND_STAGING=/dir", 0, -1});
    } else if (!place.in_memory) {
        findings.push_back(
            {Effect::lost, "memory",
             fmt::format("{} in memory, and no tmpfs with room for it", base::human_bytes(bytes)),
             "the dump goes over the disk, and the container stands still for longer", "free some memory", 0,
             -1});
    }
}

// What the host lacks stands against every container.
void examine_host_for(const fs::path& repository, std::vector<ContainerFinding>& findings) {
    for (const Check& check : examine_host(repository)) {
        bool matters =
            check.verdict == Verdict::bad || (check.what == "CRIU" && check.verdict == Verdict::limited);
        if (!matters) continue;
        findings.push_back({check.what == "cprewind runtime" ? Effect::rewind_fails : Effect::snap_fails,
                            "host: " + check.what, check.found, check.why, check.remedy, 0, -1});
    }
}

}  // namespace

const char* name_of(Effect effect) {
    switch (effect) {
        case Effect::snap_fails:
            return "snap-fails";
        case Effect::rewind_fails:
            return "rewind-fails";
        case Effect::lost:
            return "lost";
    }
    return "lost";
}

std::vector<ContainerFinding> examine_container(DockerClient& docker, const Container& container,
                                                const fs::path& repository) {
    std::vector<ContainerFinding> findings;
    examine_host_for(repository, findings);
    examine_configuration(docker, container, findings);
    if (!container.running) {
        findings.push_back({Effect::snap_fails, "not running", "the container does not run",
                            "only a running container has a state to snap",
                            fmt::format("docker start {}", container.name), 0, -1});
        return findings;
    }
    try {
        if (!find_writable_layer(container))
            throw Error(ErrorKind::unsupported, "its writable layer is not visible from here");
    } catch (const Error& error) {
        findings.push_back({Effect::snap_fails, "writable layer", error.message(),
                            "a snapshot holds the writable layer", error.hint(), 0, -1});
    }
    std::vector<pid_t> processes = processes_of(container);
    std::set<pid_t> inside(processes.begin(), processes.end());
    examine_capabilities(processes, findings);
    examine_ipc(container, processes, findings);
    examine_strangers(container, processes, findings);
    for (pid_t pid : processes) {
        examine_process(pid, container.init_pid, findings);
        examine_descriptors(pid, inside, true, findings);
        examine_mappings(pid, findings);
    }
    examine_hangs(processes, findings);
    examine_mounts(container, findings);
    examine_space(processes, repository, findings);
    std::stable_sort(
        findings.begin(), findings.end(),
        [](const ContainerFinding& a, const ContainerFinding& b) { return a.effect < b.effect; });
    return findings;
}

void refuse_certain_failures(const Container& container, const std::vector<pid_t>& processes) {
    std::vector<ContainerFinding> findings;
    std::set<pid_t> inside(processes.begin(), processes.end());
    for (pid_t pid : processes) {
        examine_process(pid, container.init_pid, findings);
        examine_descriptors(pid, inside, false, findings);
    }
    // A file may be gone by the time of the dump; these are not.
    constexpr std::string_view k_certain[] = {"io_uring", "userfaultfd", "perf_event",      "KVM",
                                              "GPU",      "debugger",    "nested namespace"};
    for (const ContainerFinding& finding : findings) {
        if (std::find(std::begin(k_certain), std::end(k_certain), finding.what) == std::end(k_certain))
            continue;
        throw Error(
            ErrorKind::unsupported,
            fmt::format("container {} cannot be dumped: {}; {}", container.name, finding.found, finding.will),
            finding.remedy + fmt::format("; all findings: cprewind doctor {}", container.name));
    }
}

}  // namespace cprewind::engine

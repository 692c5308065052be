#include "engine/container.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "base/error.h"
#include "base/fd.h"
#include "base/text.h"
#include "engine/overlay_mounts.h"

namespace cprewind::engine {
namespace {

using base::Error;
using base::ErrorKind;
using nlohmann::json;
namespace fs = std::filesystem;

// The string at a JSON pointer, or empty: Docker leaves out what does not apply, and versions differ.
std::string text_at(const json& document, const char* pointer) {
    json::json_pointer p(pointer);
    return document.contains(p) && document.at(p).is_string() ? document.at(p).get<std::string>()
                                                              : std::string();
}

bool flag_at(const json& document, const char* pointer) {
    json::json_pointer p(pointer);
    return document.contains(p) && document.at(p).is_boolean() && document.at(p).get<bool>();
}

std::string first_address(const json& document) {
    json::json_pointer networks("/NetworkSettings/Networks");
    if (document.contains(networks) && document.at(networks).is_object()) {
        for (const json& network : document.at(networks)) {
            std::string address = network.is_object() ? text_at(network, "/IPAddress") : std::string();
            if (!address.empty()) return address;
        }
    }
    return text_at(document, "/NetworkSettings/IPAddress");
}

std::map<std::string, std::string> published_ports(const json& document) {
    std::map<std::string, std::string> ports;
    json::json_pointer at("/NetworkSettings/Ports");
    if (!document.contains(at) || !document.at(at).is_object()) return ports;
    for (const auto& [port, bindings] : document.at(at).items()) {
        std::vector<std::string> places;
        for (const json& binding : bindings) {
            if (!binding.is_object()) continue;
            std::string host = text_at(binding, "/HostIp");
            bool v6 = host.find(':') != std::string::npos;
            places.push_back(
                fmt::format("{}:{}", v6 ? "[" + host + "]" : host, text_at(binding, "/HostPort")));
        }
        if (!places.empty()) ports[port] = base::join(places, ", ");
    }
    return ports;
}

std::string read_or_empty(const fs::path& path) {
    try {
        return base::read_file(path);
    } catch (const Error&) {
        return {};  // it has ended meanwhile
    }
}

std::vector<pid_t> pids_in(const fs::path& cgroup) {
    std::vector<pid_t> pids;
    for (const std::string& line : base::split(read_or_empty(cgroup / "cgroup.procs"), '\n')) {
        if (auto pid = base::parse_number(line)) pids.push_back(static_cast<pid_t>(*pid));
    }
    return pids;
}

// A container may have made control groups of its own below the one it was given.
std::vector<pid_t> pids_below(const fs::path& cgroup) {
    std::vector<pid_t> pids = pids_in(cgroup);
    std::error_code ignored;
    for (const fs::directory_entry& entry : fs::recursive_directory_iterator(cgroup, ignored)) {
        if (!entry.is_directory(ignored)) continue;
        auto more = pids_in(entry.path());
        pids.insert(pids.end(), more.begin(), more.end());
    }
    return pids;
}

// The directory of a control group that holds `pid`, whatever hierarchy is mounted: it must list the pid
// itself.
std::optional<fs::path> cgroup_directory(pid_t pid) {
    for (const std::string& line : base::split(read_or_empty(fmt::format("/proc/{}/cgroup", pid)), '\n')) {
        size_t first = line.find(':');
        size_t second = first == std::string::npos ? first : line.find(':', first + 1);
        if (second == std::string::npos) continue;
        std::string controllers = line.substr(first + 1, second - first - 1);
        std::string path = line.substr(second + 1);
        // The root group, or one outside of what we see ("/../x"), would be everybody's.
        if (path == "/" || path.starts_with("/..")) continue;
        fs::path directory = fs::path("/sys/fs/cgroup") / controllers / path.substr(1);
        auto pids = pids_in(directory);
        if (std::find(pids.begin(), pids.end(), pid) != pids.end()) return directory;
    }
    return std::nullopt;
}

std::vector<pid_t> pids_by_scan(const std::string& container_id) {
    std::vector<pid_t> pids;
    std::error_code ignored;
    for (const fs::directory_entry& entry : fs::directory_iterator("/proc", ignored)) {
        auto pid = base::parse_number(entry.path().filename().string());
        if (pid && read_or_empty(entry.path() / "cgroup").find(container_id) != std::string::npos) {
            pids.push_back(static_cast<pid_t>(*pid));
        }
    }
    return pids;
}

}  // namespace

Container find_container(DockerClient& docker, const std::string& name) {
    Container container;
    container.raw = docker.inspect_container(name);
    const json& raw = container.raw;
    container.id = text_at(raw, "/Id");
    container.name = text_at(raw, "/Name");
    if (container.name.starts_with('/')) container.name.erase(0, 1);
    container.image = text_at(raw, "/Config/Image");
    container.running = flag_at(raw, "/State/Running");
    container.paused = flag_at(raw, "/State/Paused");
    container.restarting = flag_at(raw, "/State/Restarting");
    container.init_pid = raw.value(json::json_pointer("/State/Pid"), pid_t{0});
    container.terminal = flag_at(raw, "/Config/Tty");
    container.auto_remove = flag_at(raw, "/HostConfig/AutoRemove");
    container.runtime = text_at(raw, "/HostConfig/Runtime");
    container.network_mode = text_at(raw, "/HostConfig/NetworkMode");
    container.ip_address = first_address(raw);
    container.ports = published_ports(raw);
    container.log_path = text_at(raw, "/LogPath");
    container.upper_directory = text_at(raw, "/GraphDriver/Data/UpperDir");
    bool hex =
        container.id.size() == 64 && container.id.find_first_not_of("0123456789abcdef") == std::string::npos;
    if (!hex || container.name.empty()) {
        throw Error(ErrorKind::failed,
                    fmt::format("Docker's description of '{}' has no usable Id and Name", name),
                    "is the socket really Docker's?");
    }
    return container;
}

std::optional<fs::path> find_writable_layer(const Container& container) {
    std::error_code ignored;
    if (container.running && container.init_pid > 0) {
        auto upper = root_overlay_option(
            base::read_file(fmt::format("/proc/{}/mountinfo", container.init_pid)), "upperdir");
        if (upper && upper->starts_with('/') && fs::is_directory(*upper, ignored)) return fs::path(*upper);
        if (!upper && container.upper_directory.empty()) {
            throw Error(ErrorKind::unsupported,
                        fmt::format("the root of container {} is not an overlay file system", container.name),
                        "cprewind needs Docker's overlay2 driver or containerd's overlayfs snapshotter "
                        "(docker info: Storage Driver)");
        }
    }
    // overlay2 mounts with relative paths when the options do not fit into a page.
    if (!container.upper_directory.empty() && fs::is_directory(container.upper_directory, ignored)) {
        return fs::path(container.upper_directory);
    }
    return std::nullopt;
}

std::optional<std::string> find_foreign_runtime(const Container& container) {
    std::error_code ignored;
    for (const fs::directory_entry& entry : fs::directory_iterator("/run/docker", ignored)) {
        if (!entry.path().filename().string().starts_with("runtime-")) continue;
        // crun: <root>/<id>/status; runc: <root>/<id>/state.json.
        if (fs::exists(entry.path() / "moby" / container.id / "status", ignored)) return "crun";
    }
    return std::nullopt;
}

std::optional<RuntimeHandle> find_runtime(DockerClient& docker, const Container& container) {
    // containerd's shim calls the runtime with --root <exec-root>/runtime-<something>/<namespace>; under
    // dockerd that is runtime-runc/moby whatever name the runtime is registered under (seen on 26.1
    // and 28.5).
    std::error_code ignored;
    for (const fs::directory_entry& entry : fs::directory_iterator("/run/docker", ignored)) {
        if (!entry.path().filename().string().starts_with("runtime-")) continue;
        fs::path root = entry.path() / "moby";
        if (!fs::exists(root / container.id / "state.json", ignored)) continue;
        RuntimeHandle handle{"runc", root.string()};
        json info = docker.info();
        json::json_pointer at("/Runtimes/" + container.runtime + "/path");
        if (info.contains(at) && info.at(at).is_string()) handle.binary = info.at(at).get<std::string>();
        return handle;
    }
    return std::nullopt;
}

std::vector<pid_t> processes_named_after(const std::string& container_id) {
    return pids_by_scan(container_id);
}

std::vector<pid_t> processes_of(const Container& container) {
    auto directory = cgroup_directory(container.init_pid);
    std::vector<pid_t> pids = directory ? pids_below(*directory) : pids_by_scan(container.id);
    std::sort(pids.begin(), pids.end());
    return pids;
}

std::optional<pid_t> find_vfork(const std::vector<pid_t>& processes) {
    std::error_code ignored;
    for (pid_t pid : processes) {
        for (const fs::directory_entry& task :
             fs::directory_iterator(fmt::format("/proc/{}/task", pid), ignored)) {
            std::string where = read_or_empty(task.path() / "wchan");
            // The wait is in wait_for_vfork_done(), which compilers put into its caller (kernel_clone,
            // _do_fork).
            if (where.find("fork") != std::string::npos || where.find("clone") != std::string::npos)
                return pid;
        }
    }
    return std::nullopt;
}

uint64_t estimate_dump_bytes(const std::vector<pid_t>& processes) {
    uint64_t total = 0;
    auto page = static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
    for (pid_t pid : processes) {
        // "size resident shared …" in pages; files that are mapped count, too, so this is rather too much.
        auto fields = base::split(read_or_empty(fmt::format("/proc/{}/statm", pid)), ' ');
        if (fields.size() > 1) total += base::parse_number(fields[1]).value_or(0) * page;
    }
    return total;
}

}  // namespace cprewind::engine

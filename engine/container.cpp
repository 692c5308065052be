#include "engine/container.h"

#include <dirent.h>
#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "base/error.h"
#include "base/fd.h"
#include "base/text.h"

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

// mountinfo writes blank, tab, newline and backslash as \ooo.
std::string decode_octal(std::string_view text) {
    std::string out;
    for (size_t i = 0; i < text.size(); ++i) {
        auto digit = [&](size_t k) { return text[i + k] >= '0' && text[i + k] <= '7'; };
        if (text[i] == '\\' && i + 3 < text.size() && digit(1) && digit(2) && digit(3)) {
            out +=
                static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0'));
            i += 3;
        } else {
            out += text[i];
        }
    }
    return out;
}

// "key=value" in a comma-separated list; a comma inside a value is written "\,".
std::optional<std::string> option_in(std::string_view options, std::string_view key) {
    std::string item;
    for (size_t i = 0; i <= options.size(); ++i) {
        bool escaped_comma = i > 0 && i < options.size() && options[i] == ',' && options[i - 1] == '\\';
        if (i < options.size() && (options[i] != ',' || escaped_comma)) {
            if (escaped_comma) item.pop_back();
            item += options[i];
            continue;
        }
        if (item.size() > key.size() && item.starts_with(key) && item[key.size()] == '=') {
            return decode_octal(std::string_view(item).substr(key.size() + 1));
        }
        item.clear();
    }
    return std::nullopt;
}

uint64_t resident_bytes(pid_t pid) {
    try {
        // "size resident shared …" in pages: what has pages of its own and what is shared, file pages
        // included.
        auto fields = base::split(base::read_file(fmt::format("/proc/{}/statm", pid)), ' ');
        return fields.size() > 1 ? base::parse_number(fields[1]).value_or(0) * 4096 : 0;
    } catch (const Error&) {
        return 0;  // it has ended meanwhile
    }
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

std::optional<std::string> root_overlay_option(std::string_view mountinfo, std::string_view key) {
    std::optional<std::string> found;
    for (const std::string& line : base::split(mountinfo, '\n')) {
        size_t dash = line.find(" - ");
        if (dash == std::string::npos) continue;
        auto head = base::split(std::string_view(line).substr(0, dash), ' ');
        auto tail = base::split(std::string_view(line).substr(dash + 3), ' ');
        // Later mounts lie on top of earlier ones at the same place.
        if (head.size() > 4 && head[4] == "/" && tail.size() > 2) {
            found = tail[0] == "overlay" ? option_in(tail[2], key) : std::nullopt;
        }
    }
    return found;
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

std::vector<pid_t> processes_of(const Container& container) {
    std::vector<pid_t> pids;
    std::unique_ptr<DIR, int (*)(DIR*)> proc(::opendir("/proc"), ::closedir);
    if (!proc) base::throw_errno(errno, "list /proc");
    while (dirent* entry = ::readdir(proc.get())) {
        auto pid = base::parse_number(entry->d_name);
        if (!pid) continue;
        try {
            if (base::read_file(fmt::format("/proc/{}/cgroup", *pid)).find(container.id) !=
                std::string::npos) {
                pids.push_back(static_cast<pid_t>(*pid));
            }
        } catch (const Error&) {
            // It has ended between the listing and the look.
        }
    }
    std::sort(pids.begin(), pids.end());
    return pids;
}

uint64_t estimate_dump_bytes(const std::vector<pid_t>& processes) {
    uint64_t total = 0;
    for (pid_t pid : processes) total += resident_bytes(pid);
    return total;
}

}  // namespace cprewind::engine

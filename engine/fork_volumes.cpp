#include "engine/fork_volumes.h"

#include <fmt/format.h>
#include <sys/mount.h>

#include <algorithm>
#include <filesystem>

#include "base/error.h"
#include "base/fd.h"
#include "base/process.h"
#include "base/text.h"
#include "images/directory_source.h"
#include "images/image_json.h"

namespace cprewind::engine {
namespace {

using base::Error;
using base::ErrorKind;
using nlohmann::json;
namespace fs = std::filesystem;

// "/var/lib/data" -> "var-lib-data": what the name of a volume may be made of.
std::string as_name(const std::string& place) {
    std::string out;
    for (char c : place) {
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (plain || c == '_' || c == '.') {
            out += c;
        } else if (!out.empty() && out.back() != '-') {
            out += '-';
        }
    }
    return out;
}

void copy_volume(DockerClient& docker, const std::string& from, const std::string& to) {
    fs::path source = docker.volume_directory(from);
    fs::path target = docker.volume_directory(to);
    if (source.empty() || target.empty()) {
        throw Error(
            ErrorKind::unsupported,
            fmt::format("volume {} is not a directory of this host and cannot be copied", base::escape(from)),
            "choose: --volumes ro, share or empty");
    }
    base::Output copied = base::run({"cp", "--archive", "--reflink=auto", "--sparse=always",
                                     "--no-target-directory", source.string(), target.string()});
    if (copied.status.success()) return;
    throw Error(
        ErrorKind::io,
        fmt::format("cannot copy volume {}: {}", base::escape(from), base::escape(base::trim(copied.err))),
        "see whether the disk is full; or choose --volumes ro, share or empty");
}

}  // namespace

void give_volumes(DockerClient& docker, const json& inspect, const std::string& name, VolumeMode mode,
                  const std::string& label, CloneChanges& changes, std::vector<ForkedVolume>& made) {
    changes.volumes_read_only = mode == VolumeMode::read_only;
    if (mode == VolumeMode::read_only || mode == VolumeMode::share) return;
    for (const json& mount : inspect.value("Mounts", json::array())) {
        if (!mount.is_object() || mount.value("Type", "") != "volume") continue;
        ForkedVolume volume{mount.value("Destination", ""), mount.value("Name", ""), ""};
        if (volume.original.empty() || changes.volumes.contains(volume.original)) continue;
        volume.name = name + "-" + as_name(volume.place);
        if (!docker.volume_directory(volume.name).empty()) {
            throw Error(
                ErrorKind::usage, fmt::format("there is a volume {} already", volume.name),
                fmt::format("remove it (docker volume rm {}), or choose another --name", volume.name));
        }
        docker.create_volume(volume.name, {{k_fork_label, label}});
        made.push_back(volume);
        changes.volumes[volume.original] = volume.name;
        if (mode == VolumeMode::copy) copy_volume(docker, volume.original, volume.name);
    }
}

std::vector<std::string> protect_host_directories(json& body) {
    std::vector<std::string> places;
    json& host = body["HostConfig"];
    for (json& bind : host["Binds"]) {
        auto parts = base::split(bind.get<std::string>(), ':');
        if (parts.size() < 2 || !parts[0].starts_with('/')) continue;
        std::vector<std::string> options = {"ro"};
        if (parts.size() > 2) {
            for (const std::string& option : base::split(parts[2], ',')) {
                if (option != "rw" && option != "ro") options.push_back(option);
            }
        }
        places.push_back(parts[1]);
        bind = fmt::format("{}:{}:{}", parts[0], parts[1], base::join(options, ","));
    }
    if (!host.contains("Mounts")) return places;
    for (json& mount : host["Mounts"]) {
        if (mount.value("Type", "") != "bind") continue;
        mount["ReadOnly"] = true;
        places.push_back(mount.value("Target", ""));
    }
    return places;
}

void protect_mounts(const fs::path& images, const std::set<std::string>& places) {
    if (places.empty()) return;
    images::DirectorySource source(images);
    for (const std::string& name : source.list()) {
        if (!name.starts_with("mountpoints-")) continue;
        images::Findings findings;
        images::Json image = images::decode_image(*source.open(name), name, findings);
        for (images::Json& mount : image["entries"]) {
            if (!places.contains(mount.value("mountpoint", ""))) continue;
            images::Json& flags = mount["flags"];  // crit's form is "0x…"
            uint64_t value = flags.is_string() ? base::parse_address(flags.get<std::string>()).value_or(0)
                                               : flags.get<uint64_t>();
            flags = fmt::format("{:#x}", value | MS_RDONLY);
        }
        base::replace_file(images / name, images::encode_image(image));
    }
}

}  // namespace cprewind::engine

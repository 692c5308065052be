#include "engine/fork_volumes.h"

#include <fmt/format.h>
#include <sys/mount.h>

#include <algorithm>
#include <filesystem>

#include "base/error.h"
#include "base/fd.h"
#include "base/process.h"
#include "base/text.h"
#include "engine/layer_io.h"
#include "images/directory_source.h"
#include "images/image_json.h"

namespace cprewind::engine {
namespace {

using base::Error;
using base::ErrorKind;
using nlohmann::json;
namespace fs = std::filesystem;

void copy_volume(const ForkedVolume& volume, const std::string& target) {
    std::error_code ignored;
    if (!fs::is_directory(volume.source, ignored) || !fs::is_directory(target, ignored)) {
        throw Error(ErrorKind::unsupported,
                    fmt::format("volume {} is no directory of this host (any more) and cannot be copied",
                                base::escape(volume.original)),
                    "choose: --volumes empty, ro or share");
    }
    base::Output copied = base::run({"cp", "--archive", "--reflink=auto", "--sparse=always",
                                     "--no-target-directory", volume.source, target});
    if (copied.status.success()) return;
    throw Error(ErrorKind::io,
                fmt::format("cannot copy volume {}: {}", base::escape(volume.original),
                            base::escape(base::trim(copied.err))),
                "see whether the disk is full; or choose --volumes empty, ro or share");
}

}  // namespace

std::vector<ForkedVolume> give_own_volumes(json& body, const json& inspect, VolumeMode mode) {
    std::vector<ForkedVolume> volumes;
    if (mode == VolumeMode::read_only || mode == VolumeMode::share) return volumes;
    json& host = body["HostConfig"];
    json binds = json::array();
    for (const json& bind : host["Binds"]) {
        if (bind.get<std::string>().starts_with('/')) binds.push_back(bind);
    }
    host["Binds"] = binds;
    json mounts = json::array();
    if (host.contains("Mounts")) {
        for (const json& mount : host["Mounts"]) {
            if (mount.value("Type", "") != "volume") mounts.push_back(mount);
        }
    }
    for (const json& mount : inspect.value("Mounts", json::array())) {
        if (mount.value("Type", "") != "volume") continue;
        volumes.push_back(
            {mount.value("Destination", ""), mount.value("Name", ""), mount.value("Source", ""), ""});
        // Without a source it is anonymous. What is to be copied is not to be mixed with the image's files.
        mounts.push_back({{"Type", "volume"},
                          {"Target", volumes.back().place},
                          {"ReadOnly", !mount.value("RW", true)},
                          {"VolumeOptions", {{"NoCopy", mode == VolumeMode::copy}}}});
    }
    if (!mounts.empty()) host["Mounts"] = mounts;
    // What the image or the user declared without a source is among them.
    body.erase("Volumes");
    host.erase("VolumesFrom");
    return volumes;
}

void fill_volumes(const Container& fork, VolumeMode mode, const std::vector<images::StoredVolume>& captured,
                  std::vector<ForkedVolume>& volumes) {
    for (const json& mount : fork.raw.value("Mounts", json::array())) {
        for (ForkedVolume& volume : volumes) {
            if (volume.place != mount.value("Destination", "")) continue;
            volume.name = mount.value("Name", "");
            if (mode != VolumeMode::copy) continue;
            auto then =
                std::find_if(captured.begin(), captured.end(), [&](const images::StoredVolume& stored) {
                    return stored.volume.kind == images::VolumeKind::volume &&
                           stored.volume.destination == volume.place;
                });
            std::string target = mount.value("Source", "");
            if (then == captured.end()) {
                copy_volume(volume, target);
            } else {
                restore_layer(target, then->tree, then->data.get());
            }
        }
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
            mount["flags"] = mount.value("flags", uint64_t{0}) | MS_RDONLY;
        }
        base::replace_file(images / name, images::encode_image(image));
    }
}

}  // namespace cprewind::engine

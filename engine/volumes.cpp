#include "engine/volumes.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <set>

#include "base/error.h"
#include "base/fd.h"
#include "base/text.h"
#include "engine/layer_walk.h"
#include "images/directory_source.h"

namespace cprewind::engine {
namespace {

using base::Error;
using base::ErrorKind;
using images::Volume;
using images::VolumeKind;
namespace fs = std::filesystem;

std::string text_of(const nlohmann::json& object, const char* key) {
    auto found = object.find(key);
    return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

// Every path lies in itself.
bool lies_in(const fs::path& path, const fs::path& directory) {
    auto [end, rest] =
        std::mismatch(directory.begin(), directory.end(), path.begin(), path.end(), std::equal_to<>());
    return end == directory.end();
}

bool is_named(const Volume& volume, const std::string& name) {
    return volume.name == name || volume.destination == name;
}

std::vector<Volume> pick(const Container& container, const VolumeWish& wish) {
    std::vector<Volume> all = volumes_of(container);
    std::vector<Volume> chosen;
    if (wish.names.empty()) {
        std::copy_if(all.begin(), all.end(), std::back_inserter(chosen),
                     [](const Volume& volume) { return volume.kind == VolumeKind::volume; });
        return chosen;
    }
    for (const std::string& name : wish.names) {
        auto found = std::find_if(all.begin(), all.end(),
                                  [&](const Volume& volume) { return is_named(volume, name); });
        if (found != all.end()) {
            chosen.push_back(*found);
            continue;
        }
        std::vector<std::string> names;
        for (const Volume& volume : all) names.push_back(base::escape(volume.name));
        throw Error(
            ErrorKind::usage,
            fmt::format("container {} has no volume or bind mount '{}'", container.name, base::escape(name)),
            names.empty() ? "it has none at all" : "it has: " + base::join(names, ", "));
    }
    return chosen;
}

void check_capturable(const Volume& volume, const std::vector<fs::path>& keep_out) {
    std::string shown = base::escape(images::title_of(volume));
    struct stat st {};
    if (::stat(volume.source.c_str(), &st) != 0) {
        throw Error(
            ErrorKind::unsupported,
            fmt::format("{}: its directory {} is not visible from here", shown, base::escape(volume.source)),
            "run cprewind in the mount namespace of dockerd");
    }
    if (!S_ISDIR(st.st_mode)) {
        throw Error(ErrorKind::unsupported,
                    fmt::format("{} is no directory, and only directories can be captured", shown),
                    "bind the directory that holds it, or leave it out");
    }
    std::error_code ignored;
    fs::path source = fs::weakly_canonical(volume.source, ignored);
    for (const fs::path& path : keep_out) {
        if (!lies_in(fs::weakly_canonical(path, ignored), source)) continue;
        throw Error(ErrorKind::unsupported,
                    fmt::format("{} cannot be captured: {} lies in it, which a rewind would change", shown,
                                base::escape(path.string())),
                    "leave it out");
    }
}

}  // namespace

std::vector<Volume> volumes_of(const Container& container) {
    std::vector<Volume> volumes;
    auto mounts = container.raw.find("Mounts");
    if (mounts == container.raw.end() || !mounts->is_array()) return volumes;
    for (const nlohmann::json& mount : *mounts) {
        if (!mount.is_object()) continue;
        std::string type = text_of(mount, "Type");
        if (type != "volume" && type != "bind") continue;
        Volume volume;
        volume.kind = type == "bind" ? VolumeKind::bind : VolumeKind::volume;
        volume.source = text_of(mount, "Source");
        volume.name = type == "bind" ? volume.source : text_of(mount, "Name");
        // A bound directory may have been named by way of a symbolic link.
        std::error_code ignored;
        if (fs::path real = fs::canonical(volume.source, ignored); !ignored) volume.source = real.string();
        volume.destination = text_of(mount, "Destination");
        volumes.push_back(std::move(volume));
    }
    std::sort(volumes.begin(), volumes.end(),
              [](const Volume& a, const Volume& b) { return a.destination < b.destination; });
    return volumes;
}

std::vector<Volume> choose_volumes(const Container& container, const VolumeWish& wish,
                                   const std::vector<fs::path>& keep_out) {
    if (!wish.wanted) return {};
    std::vector<Volume> chosen;
    std::set<std::string> sources;
    for (Volume& volume : pick(container, wish)) {
        check_capturable(volume, keep_out);
        if (sources.insert(volume.source).second) chosen.push_back(std::move(volume));
    }
    return chosen;
}

fs::path docker_root(DockerClient& docker) {
    return docker.info().value("DockerRootDir", "/var/lib/docker");
}

uint64_t estimate_volume_bytes(const std::vector<Volume>& volumes) {
    uint64_t total = 0;
    for (const Volume& volume : volumes) {
        base::Fd root = open_layer(volume.source);
        walk_layer(root.get(), [&](const Met& met) {
            if (S_ISREG(met.st.st_mode)) total += static_cast<uint64_t>(met.st.st_blocks) * 512;
        });
    }
    return total;
}

VolumesCapture::VolumesCapture(std::vector<Volume> volumes, fs::path staging)
    : volumes_(std::move(volumes)), staging_(std::move(staging)) {
    if (!volumes_.empty()) base::make_private_directory(staging_ / "volumes");
    for (const Volume& volume : volumes_) {
        if (lies_in(staging_, volume.source)) {
            throw Error(ErrorKind::unsupported,
                        fmt::format("{} cannot be captured: the dump itself would lie in it",
                                    base::escape(images::title_of(volume))),
                        "name another place for the dump: CPREWIND_STAGING=/dir");
        }
        captures_.push_back(std::make_unique<LayerCapture>(
            volume.source, staging_ / images::volume_data_name(captures_.size())));
    }
}

uint64_t VolumesCapture::pass() {
    uint64_t bytes = 0;
    for (auto& capture : captures_) bytes += capture->pass();
    return bytes;
}

void VolumesCapture::finish() {
    for (auto& capture : captures_) capture->finish();
}

std::vector<images::StoredVolume> VolumesCapture::contents() const {
    images::DirectorySource staged(staging_);
    std::vector<images::StoredVolume> contents;
    for (size_t i = 0; i < captures_.size(); ++i) {
        contents.push_back({volumes_[i], captures_[i]->tree(), staged.open(images::volume_data_name(i)),
                            images::volume_data_name(i)});
    }
    return contents;
}

void VolumesCapture::write_trees() const {
    for (size_t i = 0; i < captures_.size(); ++i) {
        base::replace_file(staging_ / images::volume_tree_name(i),
                           images::encode_volume(volumes_[i], captures_[i]->tree()));
    }
}

std::vector<VolumeTarget> place_volumes(const Container& container,
                                        const std::vector<images::StoredVolume>& contents) {
    std::vector<Volume> present = volumes_of(container);
    std::vector<VolumeTarget> targets;
    for (const images::StoredVolume& content : contents) {
        auto found = std::find_if(present.begin(), present.end(), [&](const Volume& volume) {
            return volume.kind == content.volume.kind && volume.destination == content.volume.destination;
        });
        if (found == present.end()) {
            throw Error(ErrorKind::unsupported,
                        fmt::format("the snapshot holds {} at {}, where container {} has none",
                                    base::escape(images::title_of(content.volume)),
                                    base::escape(content.volume.destination), container.name),
                        "rewind without them: --no-volumes");
        }
        check_capturable(*found, {});
        targets.push_back({found->source, content});
    }
    return targets;
}

void save_targets(const fs::path& directory, const std::vector<VolumeTarget>& targets, bool sync) {
    for (size_t i = 0; i < targets.size(); ++i) {
        Volume volume = targets[i].content.volume;
        volume.source = targets[i].directory;
        base::replace_file(directory / images::volume_tree_name(i),
                           images::encode_volume(volume, targets[i].content.tree));
        fs::path data = directory / images::volume_data_name(i);
        if (sync) base::sync_file(base::open_file(data, O_RDONLY).get(), data.string());
    }
}

std::vector<VolumeTarget> load_targets(const fs::path& directory, images::Findings& findings) {
    std::vector<VolumeTarget> targets;
    for (images::StoredVolume& stored : images::load_volumes(images::DirectorySource(directory), findings)) {
        fs::path place = stored.volume.source;
        targets.push_back({std::move(place), std::move(stored)});
    }
    return targets;
}

std::vector<Volume> volumes_at(const std::vector<VolumeTarget>& targets) {
    std::vector<Volume> volumes;
    for (const VolumeTarget& target : targets) {
        volumes.push_back(target.content.volume);
        volumes.back().source = target.directory;
    }
    return volumes;
}

std::vector<VolumeState> state_of_volumes(const Container& container,
                                          const std::vector<images::StoredVolume>& captured) {
    std::vector<VolumeState> states;
    for (const Volume& volume : volumes_of(container)) {
        VolumeState& state = states.emplace_back(VolumeState{volume, false, 0, 0});
        auto found = std::find_if(captured.begin(), captured.end(), [&](const images::StoredVolume& stored) {
            return stored.volume.source == volume.source;
        });
        if (found == captured.end()) continue;
        state.captured = true;
        for (const images::LayerEntry& entry : found->tree.entries) {
            if (entry.type != images::FileType::directory) ++state.files;
            if (entry.hard_link_to.empty()) state.bytes += entry.size;
        }
    }
    return states;
}

std::vector<VolumeChange> restore_volumes(const std::vector<VolumeTarget>& targets) {
    std::vector<VolumeChange> changes;
    for (const VolumeTarget& target : targets) {
        changes.push_back({target.content.volume, true,
                           restore_layer(target.directory, target.content.tree, target.content.data.get())});
    }
    return changes;
}

std::vector<VolumeChange> plan_volumes(const std::vector<VolumeTarget>& targets) {
    std::vector<VolumeChange> changes;
    for (const VolumeTarget& target : targets) {
        changes.push_back(
            {target.content.volume, true, plan_layer_restore(target.directory, target.content.tree)});
    }
    return changes;
}

std::vector<VolumeChange> untouched_volumes(const Container& container,
                                            const std::vector<VolumeTarget>& captured) {
    std::vector<VolumeChange> untouched;
    for (Volume& volume : volumes_of(container)) {
        bool touched = std::any_of(captured.begin(), captured.end(), [&](const VolumeTarget& target) {
            return target.directory == volume.source;
        });
        if (!touched) untouched.push_back({std::move(volume), false, {}});
    }
    return untouched;
}

std::vector<std::string> other_users(DockerClient& docker, const Container& container,
                                     const std::vector<VolumeTarget>& targets) {
    std::vector<std::string> names;
    if (targets.empty()) return names;
    for (const nlohmann::json& item : docker.containers()) {
        if (!item.is_object() || text_of(item, "Id") == container.id || text_of(item, "State") != "running")
            continue;
        Container other;
        other.raw = item;
        for (const Volume& volume : volumes_of(other)) {
            bool shared = std::any_of(targets.begin(), targets.end(), [&](const VolumeTarget& target) {
                return target.directory == volume.source;
            });
            if (!shared) continue;
            auto list = item.find("Names");
            std::string name =
                list != item.end() && list->is_array() && !list->empty() && list->front().is_string()
                    ? list->front().get<std::string>()
                    : text_of(item, "Id");
            names.push_back(name.starts_with('/') ? name.substr(1) : name);
            break;
        }
    }
    return names;
}

void extract_volume(const images::StoredVolume& volume, const fs::path& directory) {
    fs::create_directories(directory);
    if (!fs::is_empty(directory)) {
        throw Error(ErrorKind::usage, fmt::format("{} is not empty", base::escape(directory.string())),
                    "name an empty directory");
    }
    restore_layer(directory, volume.tree, volume.data.get());
}

}  // namespace cprewind::engine

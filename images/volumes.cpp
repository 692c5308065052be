#include "images/volumes.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "images/proto/layer.pb.h"

namespace cprewind::images {

namespace {

constexpr std::string_view k_prefix = "volumes/";
constexpr std::string_view k_tree = ".tree";
constexpr std::string_view k_data = ".data";

bool is_numbered(std::string_view name, std::string_view suffix) {
    if (!name.starts_with(k_prefix) || !name.ends_with(suffix)) return false;
    name.remove_prefix(k_prefix.size());
    name.remove_suffix(std::min(suffix.size(), name.size()));
    return !name.empty() && name.size() <= 6 &&
           name.find_first_not_of("0123456789") == std::string_view::npos;
}

bool is_absolute(const std::string& path) {
    return path.starts_with('/') && path.find('\0') == std::string::npos;
}

Volume read_volume(const std::string& bytes, const std::string& file, Findings& findings) {
    stored::LayerTree raw;
    // What is wrong with the message itself parse_layer says.
    bool whole = raw.ParseFromString(bytes);
    Volume volume;
    volume.kind = raw.volume().kind() == stored::LayerVolume::BIND ? VolumeKind::bind : VolumeKind::volume;
    volume.name = raw.volume().name();
    volume.destination = raw.volume().destination();
    volume.source = raw.volume().source();
    if (whole && (volume.name.empty() || !is_absolute(volume.destination))) {
        add_finding(findings,
                    {FindingKind::damaged, file, {}, "it does not say which volume it is, or where mounted"});
    }
    return volume;
}

}  // namespace

const char* name_of(VolumeKind kind) {
    return kind == VolumeKind::bind ? "bind" : "volume";
}

std::string title_of(const Volume& volume) {
    return (volume.kind == VolumeKind::bind ? "bind mount " : "volume ") + volume.name;
}

std::string volume_tree_name(size_t number) {
    return fmt::format("{}{}{}", k_prefix, number, k_tree);
}

std::string volume_data_name(size_t number) {
    return fmt::format("{}{}{}", k_prefix, number, k_data);
}

bool is_volume_data(std::string_view name) {
    return is_numbered(name, k_data);
}

std::string encode_volume(const Volume& volume, const LayerTree& tree) {
    stored::LayerTree raw;
    stored::LayerVolume& out = *raw.mutable_volume();
    out.set_kind(volume.kind == VolumeKind::bind ? stored::LayerVolume::BIND : stored::LayerVolume::VOLUME);
    out.set_name(volume.name);
    out.set_destination(volume.destination);
    out.set_source(volume.source);
    // Two messages one behind the other are one that has the fields of both.
    return raw.SerializeAsString() + encode_layer(tree);
}

std::vector<StoredVolume> load_volumes(const ImageSource& files, Findings& findings) {
    std::vector<StoredVolume> volumes;
    for (const std::string& name : files.list()) {
        if (!is_numbered(name, k_tree)) continue;
        StoredVolume stored;
        std::unique_ptr<std::string> bytes;
        try {
            bytes = read_whole(files, name);
        } catch (const base::Error& error) {
            add_finding(findings, {FindingKind::damaged, name, {}, error.message()});
        }
        if (!bytes) continue;
        stored.volume = read_volume(*bytes, name, findings);
        stored.data_name = name.substr(0, name.size() - k_tree.size()) + std::string(k_data);
        stored.data = files.open(stored.data_name);
        stored.tree = parse_layer(*bytes, stored.data ? stored.data->size() : 0, findings, name);
        volumes.push_back(std::move(stored));
    }
    return volumes;
}

}  // namespace cprewind::images

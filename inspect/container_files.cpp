#include "inspect/container_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "inspect/file_content.h"
#include "inspect/mounts.h"

namespace cprewind::inspect {

namespace {

using images::ImageFile;

class LayerFile : public ImageFile {
 public:
    LayerFile(const images::LayerEntry& entry, std::shared_ptr<const ImageFile> data)
        : entry_(entry), data_(std::move(data)) {}
    uint64_t size() const override { return entry_.size; }
    size_t read_at(uint64_t offset, std::span<std::byte> out) const override {
        std::string bytes = read_content(entry_, data_.get(), offset, out.size());
        std::memcpy(out.data(), bytes.data(), bytes.size());
        return bytes.size();
    }

 private:
    const images::LayerEntry& entry_;
    std::shared_ptr<const ImageFile> data_;
};

class GhostFile : public ImageFile {
 public:
    GhostFile(const images::Ghost& ghost, std::unique_ptr<ImageFile> image)
        : ghost_(ghost), image_(std::move(image)) {}
    uint64_t size() const override { return ghost_.size; }
    size_t read_at(uint64_t offset, std::span<std::byte> out) const override {
        if (offset >= ghost_.size) return 0;
        auto size = static_cast<size_t>(std::min<uint64_t>(out.size(), ghost_.size - offset));
        std::fill_n(out.begin(), size, std::byte{0});
        for (const images::GhostPart& part : ghost_.parts) {
            uint64_t begin = std::max(part.file_offset, offset);
            uint64_t end = std::min(part.file_offset + part.size, offset + size);
            if (begin >= end) continue;
            image_->read_at(
                part.image_offset + (begin - part.file_offset),
                out.subspan(static_cast<size_t>(begin - offset), static_cast<size_t>(end - begin)));
        }
        return size;
    }

 private:
    const images::Ghost& ghost_;
    std::unique_ptr<ImageFile> image_;
};

constexpr const char* k_opaque = "trusted.overlay.opaque";

}  // namespace

ContainerFiles::ContainerFiles(Moment moment, const images::LayerTree* layer,
                               std::shared_ptr<const ImageFile> layer_data,
                               std::vector<Directory> directories, images::Findings& findings)
    : moment_(moment),
      layer_data_(std::move(layer_data)),
      directories_(std::move(directories)),
      ghosts_(images::load_ghosts(moment.source, findings)) {
    if (layer == nullptr) return;
    for (const images::LayerEntry& entry : layer->entries) {
        layer_["/" + entry.path] = &entry;
        if (entry.xattrs.contains(k_opaque)) opaque_.push_back("/" + entry.path + "/");
    }
}

std::unique_ptr<ImageFile> ContainerFiles::open_ghost(uint32_t file_id) const {
    for (const images::Ghost& ghost : ghosts_) {
        if (std::find(ghost.files.begin(), ghost.files.end(), file_id) == ghost.files.end()) continue;
        auto image = moment_.source.open(ghost.image);
        if (image) return std::make_unique<GhostFile>(ghost, std::move(image));
    }
    return nullptr;
}

ContainerFiles::Found ContainerFiles::open(const std::string& path) const {
    const images::Mount* mount = mount_beside_root(moment_.checkpoint, path);
    if (mount == nullptr) {
        if (auto in_layer = open_in_layer(path)) return std::move(*in_layer);
    }
    for (const Directory& directory : directories_) {
        if (auto file = directory(path)) return {std::move(file), {}};
    }
    std::string where = mount == nullptr ? "it is "
                                         : fmt::format("it is on the mount at {} ({}), ", mount->mountpoint,
                                                       mount->filesystem);
    return {nullptr,
            where + (directories_.empty()
                         ? "not in the snapshot; --sysroot DIR names the container's root file system"
                         : "neither in the snapshot nor below the root file system that was given")};
}

std::optional<ContainerFiles::Found> ContainerFiles::open_in_layer(const std::string& path) const {
    auto entry = layer_.find(path);
    if (entry != layer_.end() && !entry->second->hard_link_to.empty())
        entry = layer_.find("/" + entry->second->hard_link_to);
    if (entry != layer_.end()) {
        if (entry->second->type == images::FileType::regular)
            return Found{std::make_unique<LayerFile>(*entry->second, layer_data_), {}};
        return Found{nullptr, entry->second->is_whiteout() ? "it was removed from the container"
                                                           : "it is no regular file in the writable layer"};
    }
    // A whiteout or an opaque directory above it hides what the container image has.
    for (size_t slash = path.rfind('/'); slash != std::string::npos && slash > 0;
         slash = path.rfind('/', slash - 1)) {
        auto above = layer_.find(path.substr(0, slash));
        if (above != layer_.end() && above->second->is_whiteout())
            return Found{nullptr, "it was removed from the container"};
    }
    for (const std::string& directory : opaque_) {
        if (path.starts_with(directory)) return Found{nullptr, "it was removed from the container"};
    }
    return std::nullopt;
}

ContainerFiles::Found ContainerFiles::open_mapped(const std::string& path,
                                                  std::optional<uint32_t> file_id) const {
    const images::File* file = file_id ? moment_.checkpoint.find_file(*file_id) : nullptr;
    if (file != nullptr && file->deleted) {
        if (auto ghost = open_ghost(file->id)) return {std::move(ghost), {}};
        return {nullptr, "it was deleted, and the checkpoint does not hold its content"};
    }
    Found found = open(path);
    if (found.file && file != nullptr && file->size && *file->size != found.file->size()) {
        return {nullptr, fmt::format("the one at hand has {} bytes, the one that was mapped had {}",
                                     found.file->size(), *file->size)};
    }
    return found;
}

}  // namespace cprewind::inspect

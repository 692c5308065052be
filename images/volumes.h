// What a snapshot keeps of the volumes and bind mounts that were captured with it: of each a tree, told like the
// writable layer (images/layer.h), and one stream with the data of its files.
//
// The N-th is stored in "volumes/N.tree" (images/proto/layer.proto, message LayerTree with the field `volume`) and
// "volumes/N.data". What was not captured is told by the container's description alone.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "images/finding.h"
#include "images/image_source.h"
#include "images/layer.h"

namespace cprewind::images {

enum class VolumeKind { volume, bind };
const char* name_of(VolumeKind kind);

struct Volume {
    VolumeKind kind = VolumeKind::volume;
    std::string name;         // the volume's, or the directory that was bound
    std::string destination;  // in the container
    std::string source;       // the directory on the host at that time
};

struct StoredVolume {
    Volume volume;
    LayerTree tree;
    std::shared_ptr<const ImageFile> data;  // null: lost
    std::string data_name;                  // of the file with the data, when stored
};

// "volume data", "bind mount /srv": the same for the same volume of two snapshots.
std::string title_of(const Volume& volume);

std::string volume_tree_name(size_t number);
std::string volume_data_name(size_t number);
// Whether `name` is what volume_data_name() makes.
bool is_volume_data(std::string_view name);

std::string encode_volume(const Volume& volume, const LayerTree& tree);

// All that `files` has, in order. Damage is a finding, and the rest is kept.
std::vector<StoredVolume> load_volumes(const ImageSource& files, Findings& findings);

}  // namespace cprewind::images

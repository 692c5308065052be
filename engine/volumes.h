// Volumes and bind mounts of a container: which there are, taking them into a snapshot inside the same freeze as the
// writable layer (and as it, in two passes), and putting them back.
//
// A volume belongs to more than one container, maybe, and a bind mount to the host: so nothing is captured unless
// asked for, and a bind mount only by name. What is put back goes to where the container of today has the volume
// mounted, never to a path that a snapshot names.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/container.h"
#include "engine/layer_io.h"
#include "images/image_source.h"
#include "images/volumes.h"

namespace cprewind::engine {

// All that Docker has mounted into it and that lies on the host, by destination.
std::vector<images::Volume> volumes_of(const Container& container);

// `--volumes`: the volumes; `--volumes=name,…`: exactly these, where a name is a volume's, a bound directory or a
// destination.
struct VolumeWish {
    bool wanted = false;
    std::vector<std::string> names;  // empty: all volumes, no bind mount
};

// Those of `container` that `wish` means, each directory once. `keep_out` are directories that must not lie in one
// (the repository). Errors: usage for a name that the container does not have; unsupported for what is no directory.
std::vector<images::Volume> choose_volumes(const Container& container, const VolumeWish& wish,
                                           const std::vector<std::filesystem::path>& keep_out);

// Where Docker keeps everything, volumes, too.
std::filesystem::path docker_root(DockerClient& docker);

// What copying them takes, at most.
uint64_t estimate_volume_bytes(const std::vector<images::Volume>& volumes);

class VolumesCapture {
 public:
    // Data go to "volumes/N.data" in `staging`.
    VolumesCapture(std::vector<images::Volume> volumes, std::filesystem::path staging);

    // As LayerCapture's.
    uint64_t pass();
    void finish();

    // After finish(): what a snapshot keeps of them. The data refer to the staging directory.
    std::vector<images::StoredVolume> contents() const;
    // Writes the trees beside the data, so that the staging directory reads as a snapshot does.
    void write_trees() const;

 private:
    std::vector<images::Volume> volumes_;
    std::filesystem::path staging_;
    std::vector<std::unique_ptr<LayerCapture>> captures_;
};

// A volume with what shall be in it.
struct VolumeTarget {
    std::filesystem::path directory;  // where the container has it today
    images::StoredVolume content;
};

// Where the volumes of a snapshot belong. Errors: unsupported when the container has one no longer; then nothing
// should be touched.
std::vector<VolumeTarget> place_volumes(const Container& container,
                                        const std::vector<images::StoredVolume>& contents);

// The targets as files that outlive us, in the directory in which VolumesCapture put the data; `sync`: even a power
// cut. And back: to the very directories.
void save_targets(const std::filesystem::path& directory, const std::vector<VolumeTarget>& targets,
                  bool sync);
std::vector<VolumeTarget> load_targets(const std::filesystem::path& directory, images::Findings& findings);

// The same places, to be captured before they are changed.
std::vector<images::Volume> volumes_at(const std::vector<VolumeTarget>& targets);

// One volume of a container, and what a snapshot has of it.
struct VolumeState {
    images::Volume volume;
    bool captured = false;
    uint64_t files = 0;
    uint64_t bytes = 0;
};
std::vector<VolumeState> state_of_volumes(const Container& container,
                                          const std::vector<images::StoredVolume>& captured);

// What became of one volume of the container.
struct VolumeChange {
    images::Volume volume;
    bool captured = false;             // the snapshot has it; else it was left as it is
    std::vector<LayerChange> changes;  // what was put back
};

// Makes each directory what it was, by differences. Throws on the first failure; then the caller restores what was
// before, the same way.
std::vector<VolumeChange> restore_volumes(const std::vector<VolumeTarget>& targets);

// What would be put back.
std::vector<VolumeChange> plan_volumes(const std::vector<VolumeTarget>& targets);

// Those of the container that are not among `captured`.
std::vector<VolumeChange> untouched_volumes(const Container& container,
                                            const std::vector<VolumeTarget>& captured);

// Other running containers that have one of the volumes mounted, by name: they see them change.
std::vector<std::string> other_users(DockerClient& docker, const Container& container,
                                     const std::vector<VolumeTarget>& targets);

// Writes the volume into `directory`, which is made when it is not there and must be empty otherwise.
void extract_volume(const images::StoredVolume& volume, const std::filesystem::path& directory);

}  // namespace cprewind::engine

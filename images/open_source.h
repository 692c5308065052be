// From a path to a source: what a person names may be a directory of CRIU images, a directory or a tar
// archive with them further down (podman, CRI-O and containerd keep them in "checkpoint/"), flat or not. What
// lies beside the images comes with them: where they are from, the writable layer, volumes, /dev/shm.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "images/finding.h"
#include "images/image_source.h"
#include "images/origin.h"
#include "images/rootfs_diff.h"

namespace cprewind::images {

struct OpenedSource {
    std::unique_ptr<ImageSource> files;   // everything there is
    std::unique_ptr<ImageSource> images;  // the CRIU images in it; refers to `files`
    Findings findings;                    // of what lies around the images, not yet of the images
    std::string base;                     // names of what lies around the images begin with it: "", "x/"
    Origin origin;
    std::optional<FileTree> layer;
    std::vector<FileTree> trees;  // volumes and /dev/shm, by name
};

// Errors: not_found when nothing is there or no checkpoint in it, unsupported when it is no archive, is
// compressed in a way that is not read, or is encrypted.
OpenedSource open_source(const std::filesystem::path& path);

// Where in `source` the checkpoint lies: "", "checkpoint/", or whichever directory holds an inventory.img or
// a pstree.img, the one nearest to the top first. Nothing when there is none.
std::unique_ptr<std::string> find_checkpoint(const ImageSource& source);

}  // namespace cprewind::images

// Trees of files that lie in an archive as tar archives of their own: the writable layer (rootfs-diff.tar),
// volumes, /dev/shm. They become what a snapshot has, a LayerTree, and their data are read where they lie.
//
// How a layer tells which files of the container image are gone differs:
//   podman, CRI-O   deleted.files beside it: a JSON list of absolute paths, a directory means all below it
//   containerd      an OCI layer: an empty file ".wh.NAME" hides NAME, ".wh..wh..opq" all else in its directory
// Here both become overlay's own marks, as in a snapshot: a character device 0:0, trusted.overlay.opaque.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "images/finding.h"
#include "images/image_source.h"
#include "images/layer.h"

namespace cprewind::images {

// `data` is the (decoded) tar, into which the extents of `tree` point. Entries have no digests: they cost
// reading everything (add_digests).
struct FileTree {
    std::string name;  // of the file it was read from
    LayerTree tree;
    std::shared_ptr<const ImageFile> data;
    std::string destination = {};  // where the container has it, if that is told
};

enum class Whiteouts { none, oci };

// Reads a tar, plain or compressed (then it is an OCI layer, whatever `whiteouts` says). Entries that cannot be
// are dropped with a finding that names them; directories that are only implied are made up (0755, root). Of
// more than 200,000 entries the rest is dropped.
FileTree read_file_tree(std::shared_ptr<const ImageFile> tar, const std::string& name, Whiteouts whiteouts,
                        Findings& findings);

// Hides what `deleted` lists, which is the content of deleted.files, and removes it from the tree.
void apply_deleted_files(LayerTree& tree, std::string_view deleted, const std::string& name,
                         Findings& findings);

// Fills in the digests that are missing, reading `data` from front to end. A file of which data are missing
// keeps none.
void add_digests(LayerTree& tree, const ImageFile& data);

}  // namespace cprewind::images

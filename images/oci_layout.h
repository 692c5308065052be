// Checkpoints in an OCI layout, shown under the names that other archives have for the same things.
//
//   oci-layout, index.json           the root; an index lists descriptors: media type, digest, size
//   blobs/sha256/HEX                 everything else, by its digest
//
// Two forms hold a checkpoint:
//   an index of `ctr` or nerdctl     …criu.checkpoint.criu.tar     a tar of images           checkpoint/
//                                    …checkpoint.config.v1+proto   the specification         spec.dump
//                                    a layer                       the changed files         rootfs-diff.tar
//                                    the index itself              annotations               index.json
//                                    …options.v1+proto and others  kept for import           ctr.*
//   a manifest of a checkpoint       one layer with the members of podman's, CRI-O's or containerd's archive;
//   image (podman --create-image,    the manifest's annotations tell the origin              manifest.json
//   buildah, checkpointctl build)
//
// The older form of `docker save` and `podman save`, a manifest.json that lists layers, is read as well. The
// digests of what is read as a whole are checked; those of tar archives would cost reading all of the memory.
#pragma once

#include <memory>
#include <string>

#include "images/archive_source.h"
#include "images/finding.h"
#include "images/image_source.h"

namespace cprewind::images {

// Whether `files` is such a layout: then where its root lies ("", "x/"), else null.
std::unique_ptr<std::string> find_oci_layout(const ImageSource& files);

// The checkpoint in the layout at `root` of `files`; null when none is in it. Of several the first is read, with
// a finding that names the others. `visitor` sees the members of the archive within. What is returned does not
// refer to `files`, so that the index of a large outer archive can be given back.
std::unique_ptr<ImageSource> open_oci_checkpoint(const ImageSource& files, const std::string& root,
                                                 const ArchiveSource::Visitor& visitor, Findings& findings);

}  // namespace cprewind::images

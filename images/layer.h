// The writable layer of a container as a snapshot keeps it: a tree of entries (this file) beside one stream
// that holds the data of all regular files ("layer.data"). An entry says where in the stream its data lie, so
// holes cost nothing and an unchanged file can be pointed at again.
//
// Stored as one protobuf message (images/proto/layer.proto, message LayerTree) in the file "layer.tree".
// Overlay's own marks are kept as what they are: a whiteout is a character device 0:0, an opaque directory
// has the attribute trusted.overlay.opaque.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/digest.h"
#include "images/finding.h"

namespace cprewind::images {

enum class FileType { regular, directory, symlink, character_device, block_device, fifo, socket };

const char* name_of(FileType type);

// `length` bytes at `file_offset` of the file are those at `data_offset` of layer.data. What no extent covers
// is a hole. Sorted by file_offset, not overlapping.
struct LayerExtent {
    uint64_t file_offset = 0;
    uint64_t data_offset = 0;
    uint64_t length = 0;

    bool operator==(const LayerExtent&) const = default;
};

struct LayerEntry {
    std::string path;  // relative to the layer, no leading "/"; the root itself is ""
    FileType type = FileType::regular;
    uint32_t mode = 0;  // permission bits with set-id and sticky, without the type
    uint32_t uid = 0;
    uint32_t gid = 0;
    uint64_t rdev = 0;         // devices only, as in st_rdev
    int64_t mtime_ns = 0;      // since the epoch
    int64_t ctime_ns = 0;      // when captured; never restored, used to see what has not changed since
    uint64_t inode = 0;        // likewise
    uint64_t size = 0;         // regular: length; symlink: 0
    std::string link_target;   // symlinks
    std::string hard_link_to;  // path of an earlier entry that is the same inode; then the rest repeats it
    std::map<std::string, std::string> xattrs;  // names and values, bytes
    std::vector<LayerExtent> extents;           // regular files that are not hard_link_to something
    std::optional<base::Digest> digest;  // SHA-256 of the whole content, holes as zeros (regular files)

    bool is_whiteout() const { return type == FileType::character_device && rdev == 0; }
};

// Sorted by path with a directory before what it holds; the first entry is the root.
struct LayerTree {
    std::vector<LayerEntry> entries;
};

std::string encode_layer(const LayerTree& tree);

// Reads what encode_layer wrote, or anything else: entries that make no sense (absolute paths, "..", unknown
// types, extents outside `data_size`, links to nothing) are dropped with a finding. Never throws. `file` is what
// findings call it.
LayerTree parse_layer(std::string_view bytes, uint64_t data_size, Findings& findings,
                      std::string_view file = "layer.tree");

}  // namespace cprewind::images

// Files that were open and had no name any more: remap-fpath.img says which, ghost-file-<id>.img holds their content.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "images/finding.h"
#include "images/image_source.h"

namespace cprewind::images {

struct GhostPart {
    uint64_t file_offset = 0;
    uint64_t size = 0;
    uint64_t image_offset = 0;
};

struct Ghost {
    uint64_t id = 0;
    std::string image;
    std::vector<uint32_t> files;  // ids in files.img
    uint32_t mode = 0;            // type included
    uint32_t uid = 0, gid = 0;
    uint64_t size = 0;
    std::string link_target;       // symbolic links
    std::vector<GhostPart> parts;  // what they do not cover is a hole
};

// By id. Every ghost-file image is in it, also one that nothing points to.
std::vector<Ghost> load_ghosts(const ImageSource& source, Findings& findings);

}  // namespace cprewind::images

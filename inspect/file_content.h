// Content of files in a captured layer, read piece by piece, holes as zeros.
#pragma once

#include <string>

#include "images/image_source.h"
#include "images/layer.h"

namespace cprewind::inspect {

// Up to `size` bytes from `offset` of a regular file; shorter at its end. `data` is the layer's data stream (null: the
// layer has none, so everything is a hole). Throws base::Error when `data` is shorter than the entry says.
std::string read_content(const images::LayerEntry& entry, const images::ImageFile* data, uint64_t offset,
                         uint64_t size);

}  // namespace cprewind::inspect

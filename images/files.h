// files.img and what belongs to it, as the model's File. Part of load_checkpoint().
#pragma once

#include <cstdint>
#include <map>

#include "images/image_source.h"
#include "images/model.h"

namespace cprewind::images {

// All open files by id. A file that two entries claim to be is a finding, and the first holds.
std::map<uint32_t, File> load_files(const ImageSource& source, Findings& findings);

}  // namespace cprewind::images

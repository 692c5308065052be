// pstree.img and the images of each process, as the model's tree. Part of load_checkpoint().
#pragma once

#include <map>
#include <vector>

#include "images/image_source.h"
#include "images/model.h"

namespace cprewind::images {

// The processes, depth first. Their order, depth and parents are a tree whatever pstree.img says.
std::vector<Process> load_processes(const ImageSource& source, const std::map<uint32_t, File>& files,
                                    Architecture& architecture, Findings& findings);

}  // namespace cprewind::images

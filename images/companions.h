// Images that CRIU writes beside what others describe: when one of these is not there, it was lost.
#pragma once

#include "images/image_source.h"
#include "images/model.h"

namespace cprewind::images {

// Adds findings to `checkpoint`, which is loaded but for them.
void check_companions(const ImageSource& source, Checkpoint& checkpoint);

}  // namespace cprewind::images

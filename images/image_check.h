// Reads an image for its own sake, to the last entry with what follows it, and keeps nothing but what is odd. Images
// that make up the model are checked by being read; this is for all others, which a view may or may not ask for.
#pragma once

#include <string_view>

#include "images/finding.h"
#include "images/image_kinds.h"
#include "images/image_source.h"

namespace cprewind::images {

// Of raw images there is nothing to check. Bytes behind entries are stepped over, not read.
void check_image(const ImageSource& source, std::string_view name, const ImageKind& kind, Findings& findings);

}  // namespace cprewind::images

// Copying a file out of a snapshot as fast as the cores allow: what a rewind waits for.
#pragma once

#include "images/image_source.h"
#include "store/repository.h"

namespace cprewind::store {

// Makes the regular file `fd` equal to `file`; what it held before goes. Stored files are decoded and checked
// by all cores, anything else is copied by one. Blocks of zeros become holes. Errors: damaged (then `fd`
// holds an unusable part), io.
void extract(const images::ImageFile& file, int fd, const Progress& progress = {});

}  // namespace cprewind::store

// Which errors are the loss of one file. Reading evidence goes on without that file, with a finding; it stops for all others.
#pragma once

#include "base/error.h"

namespace cprewind::images {

// The bytes cannot be had: the medium fails, an archive is broken, or the repository has lost them.
inline bool is_loss(const base::Error& error) {
    return error.kind() == base::ErrorKind::damaged || error.kind() == base::ErrorKind::io;
}

}  // namespace cprewind::images

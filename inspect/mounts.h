// Which mount a path is on.
#pragma once

#include <string>

#include "images/model.h"

namespace cprewind::inspect {

// The mount with the longest mountpoint above (or at) `path`, of equal ones the last, which hides the others. Null when
// none of the dumped ones is.
const images::Mount* mount_of(const images::Checkpoint& checkpoint, const std::string& path);

// Likewise, but null for what is on the container's root as well: neither its image nor its writable layer knows what
// lies on the mount that this returns.
const images::Mount* mount_beside_root(const images::Checkpoint& checkpoint, const std::string& path);

}  // namespace cprewind::inspect

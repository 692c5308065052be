// inotify watches on the container's overlay: CRIU can only dump those whose files it finds by searching.
#pragma once

#include <sys/types.h>

#include <vector>

#include "engine/doctor_container.h"

namespace cprewind::engine {

// For a descriptor that is an inotify: the watches on the overlay root that lie outside of where CRIU looks by itself.
void examine_watches(pid_t pid, int fd, std::vector<ContainerFinding>& findings);

}  // namespace cprewind::engine

// One cprewind at a time works on a container: a second one would take the first one's pause for the owner's,
// and CRIU cannot dump what another CRIU holds.
#pragma once

#include <functional>
#include <string>

#include "base/fd.h"

namespace cprewind::engine {

class ContainerLock {
 public:
    // Takes the lock of the container of that id; waits while another process has it, after one call of
    // `waiting`. It is flock(2) on a file below /run/cprewind: it ends with its last holder, whatever ends
    // that, and with a reboot.
    ContainerLock(const std::string& container_id, const std::function<void()>& waiting);

    // Whoever inherits this holds the lock on after our death (guards do).
    int hold_fd() const { return file_.get(); }

 private:
    base::Fd file_;
};

}  // namespace cprewind::engine

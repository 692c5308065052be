// Timers that ran out while their process stood still.
//
// The kernel starts the next period of a periodic timerfd when it is read, and of the real-time interval timer
// (setitimer) when its SIGALRM is delivered. A process that is frozen does neither, so a freeze that is longer than what the timer
// had left finds it expired: a period, and nothing left to run. CRIU puts that back to the letter, and to settime "nothing left"
// means "disarmed": an event loop built on such a timer comes back and never ticks again.
#pragma once

#include <filesystem>

#include "images/checkpoint.h"

namespace cprewind::engine {

// Gives such timers of the images in `directory`, which `checkpoint` was read from, the shortest time to run, so that
// they go on with their period. `directory` is a copy made for a restore, never evidence. Returns how many there were.
size_t arm_expired_timers(const std::filesystem::path& directory, const images::Checkpoint& checkpoint);

}  // namespace cprewind::engine

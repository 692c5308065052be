// When processes started: with the pid it names a process for as long as the host is up.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <vector>

namespace cprewind::engine {

// Field 22 of /proc/PID/stat, in ticks since boot. 0: no such process.
uint64_t start_time(uint64_t pid);

// Of all `pids` of a container whose first process is `init`, by the pid that they have inside it.
std::map<uint32_t, uint64_t> start_times_inside(const std::vector<pid_t>& pids, pid_t init);

}  // namespace cprewind::engine

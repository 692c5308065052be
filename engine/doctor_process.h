// What one process has that CRIU cannot dump, or that does not come back (doctor_container.h has the whole picture).
#pragma once

#include <sys/types.h>

#include <set>
#include <string>
#include <vector>

#include "engine/doctor_container.h"

namespace cprewind::engine {

// "process 4711 (node)", escaped.
std::string process_label(pid_t pid);
// A field of /proc/PID/status without blanks around it ("TracerPid:"), or empty.
std::string status_of(pid_t pid, std::string_view field);

// Descriptors by what they lead to; `thoroughly`: also look into sockets (a system call or five for each) and look for
// watched files.
void examine_descriptors(pid_t pid, const std::set<pid_t>& inside, bool thoroughly,
                         std::vector<ContainerFinding>& findings);
// Mappings of devices, secret memory, probes.
void examine_mappings(pid_t pid, std::vector<ContainerFinding>& findings);
// Debuggers, namespaces of its own. `init`: the container's first process.
void examine_process(pid_t pid, pid_t init, std::vector<ContainerFinding>& findings);
// Threads that stay in the kernel and may not come to rest: in state D twice, half a second apart, without having run between.
// Takes that half second only if one is in that state at all.
void examine_hangs(const std::vector<pid_t>& processes, std::vector<ContainerFinding>& findings);

}  // namespace cprewind::engine

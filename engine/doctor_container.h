// What would fail or be lost if this container were snapped and rewound, told from /proc and Docker before anything is
// frozen. A prediction: what CRIU itself says in the end is explained by criu_log.h.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <string>
#include <vector>

#include "engine/container.h"
#include "engine/docker_client.h"

namespace cprewind::engine {

enum class Effect {
    snap_fails,    // CRIU refuses to dump it
    rewind_fails,  // it can be dumped, and not be brought back (in place)
    lost,          // it works, and this will be missing or closed afterwards
};
const char* name_of(Effect effect);

struct ContainerFinding {
    Effect effect = Effect::lost;
    std::string what;    // "io_uring"
    std::string found;   // "process 4711 (node), descriptor 12: anon_inode:[io_uring]"
    std::string will;    // what will happen, a sentence
    std::string remedy;  // what to do
    pid_t pid = 0;       // on the host; 0: none in particular
    int fd = -1;
};

// Everything. `repository`: where snapshots would go. Never throws for what it finds.
std::vector<ContainerFinding> examine_container(DockerClient& docker, const Container& container,
                                                const std::filesystem::path& repository);

// The part that is certain, and cheap enough for every snap: throws Error (unsupported) with the first thing that CRIU
// would refuse.
void refuse_certain_failures(const Container& container, const std::vector<pid_t>& processes);

}  // namespace cprewind::engine

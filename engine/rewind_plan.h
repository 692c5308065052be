// What a rewind would do, for `rewind --dry-run`. Nothing is touched, nothing is paused: the container runs on, so
// this is how it stands while one looks.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>
#include <vector>

#include "engine/rewind.h"

namespace cprewind::engine {

struct DyingProcess {
    pid_t pid = 0;        // as the host sees it
    uint64_t inside = 0;  // as the container sees it
    std::string comm;
    std::string arguments;  // NUL-separated, as in its memory
};

struct Connection {
    pid_t pid = 0;  // the first of those that hold it
    std::string comm;
    std::string local;
    std::string remote;
    std::string state;  // "ESTABLISHED"
};

struct RewindPlan {
    store::SnapshotRecord target;
    Via via = Via::runtime;
    bool recreates = false;     // a new container would take its place
    bool running = false;       // now
    bool takes_safety = false;  // a safety snapshot first
    std::vector<DyingProcess> killed;
    std::vector<LayerChange> files;
    std::vector<Connection> closing;           // TCP connections there are now
    std::vector<std::string> come_back;        // command lines of the snapshot's processes, NUL-separated
    std::vector<Connection> come_back_closed;  // connections to the outside that the snapshot has
};

// Errors: whatever would refuse the rewind before it begins.
RewindPlan plan_rewind(DockerClient& docker, const store::Repository& repository,
                       const std::string& container, const store::SnapshotRecord& target,
                       const RewindRequest& request);

// For tests: the lines of /proc/PID/net/tcp or tcp6 that are connections, by inode.
struct TcpLine {
    uint64_t inode = 0;
    std::string local;
    std::string remote;
    uint32_t state = 0;
};
std::vector<TcpLine> parse_tcp(std::string_view text);

}  // namespace cprewind::engine

// Making the checkpoint of a container that stands still, through its own runtime or through Docker.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "engine/container.h"
#include "engine/docker_client.h"

namespace cprewind::engine {

enum class Via { automatic, runtime, api };

// How a dump will be made; decided before the container is touched.
struct DumpMethod {
    Via via = Via::runtime;  // never automatic
    RuntimeHandle runtime;   // for Via::runtime
};

// Errors: unsupported, when what is asked for cannot work here, with what would.
DumpMethod choose_method(DockerClient& docker, const Container& container, Via wanted);

// CRIU options that the checkpoint is made with and that a restore needs again.
const std::vector<std::string>& criu_options();

// Dumps into the directory `images` (made here), logs into `work`; the container is left as it is: running or
// paused. Through the runtime, the program inherits `holds`, so that who waits at their other ends knows when
// it has ended. Errors: failed, with the cause from CRIU's log in plain words, the log itself as detail.
void dump(DockerClient& docker, const Container& container, const DumpMethod& method,
          const std::filesystem::path& images, const std::filesystem::path& work,
          const std::vector<int>& holds);

}  // namespace cprewind::engine

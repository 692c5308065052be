#include "engine/restored_start.h"

#include <fmt/format.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/text.h"
#include "engine/criu_log.h"
#include "engine/daemon_config.h"
#include "engine/dump.h"
#include "runtime/plan.h"

namespace cprewind::engine {
namespace {

using base::Error;
using base::ErrorKind;
using nlohmann::json;
namespace fs = std::filesystem;

// A failed `docker start` with the cause from CRIU's log, if there is one.
Error explain_start(const std::string& id, const std::string& name, const Error& start_error) {
    std::string log;
    try {
        log = base::read_file(runtime::taken_directory(runtime::state_directory(), id) / "restore.log");
    } catch (const Error&) {
        return start_error;
    }
    keep_failed_log(log);
    auto cause = explain_criu_log(log);
    if (!cause) return start_error;
    return {ErrorKind::failed, fmt::format("CRIU cannot restore container {}: {}", name, cause->cause),
            cause->remedy, log};
}

}  // namespace

void start_restored(DockerClient& docker, const std::string& id, const std::string& name,
                    const fs::path& images, bool close_connections) {
    fs::path state = runtime::state_directory();
    runtime::Plan plan;
    plan.images = images.string();
    plan.options = criu_options();
    if (close_connections) {
        fs::path config = images.parent_path() / "criu.conf";
        base::replace_file(config, "tcp-close\n");
        plan.criu_config = config.string();
        std::erase(plan.options, "--tcp-established");
    }
    runtime::leave_plan(state, id, plan);
    try {
        docker.start(id);
    } catch (const Error& error) {
        Error explained = explain_start(id, name, error);
        runtime::drop_plan(state, id);
        throw explained;
    }
    bool restored = runtime::outcome_of(state, id) == runtime::Outcome::restored;
    // Whatever became of it: a plan that stayed would be obeyed by somebody's later `docker start`.
    runtime::drop_plan(state, id);
    if (!restored) {
        throw Error(ErrorKind::failed,
                    fmt::format("Docker started container {} without asking the runtime to restore it", name),
                    "see cprewind doctor: is the registered runtime this cprewind's own?");
    }
}

std::string registered_runtime(DockerClient& docker) {
    json info = docker.info();
    json runtimes =
        info.contains("Runtimes") && info["Runtimes"].is_object() ? info["Runtimes"] : json::object();
    if (runtimes.contains(k_runtime_name)) return k_runtime_name;
    for (const auto& [name, runtime] : runtimes.items()) {
        if (runtime.is_object() && fs::path(runtime.value("path", "")).filename() == "cprewind-runtime")
            return name;
    }
    throw Error(ErrorKind::unavailable,
                "cprewind's runtime is not registered with Docker, and only it restores containers",
                "cprewind setup");
}

}  // namespace cprewind::engine

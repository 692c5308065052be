#include "engine/setup.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <thread>

#include "base/error.h"
#include "base/fd.h"
#include "base/process.h"
#include "base/text.h"

namespace cprewind::engine {
namespace {

using base::Error;
using base::ErrorKind;
namespace fs = std::filesystem;

std::string read_or_empty(const fs::path& path) {
    std::error_code ignored;
    return fs::exists(path, ignored) ? base::read_file(path) : std::string();
}

unsigned mode_of(const fs::path& path) {
    struct stat st {};
    return ::stat(path.c_str(), &st) == 0 ? st.st_mode & 07777 : 0644;
}

// dockerd's own judgement on the new text; nothing when there is no dockerd to ask.
void validate(const std::string& text, const fs::path& beside) {
    if (!base::find_program("dockerd")) return;
    base::TemporaryDirectory directory(beside, ".cprewind-validate-");
    fs::path file = directory.path() / "daemon.json";
    base::replace_file(file, text);
    auto output = base::run({"dockerd", "--validate", "--config-file", file.string()});
    if (!output.status.success()) {
        throw Error(
            ErrorKind::failed,
            fmt::format("dockerd refuses the new configuration: {}", base::escape(base::trim(output.err))),
            "nothing was changed");
    }
}

bool shows_runtime(DockerClient& docker) {
    auto info = docker.info();
    return info.contains("Runtimes") && info["Runtimes"].contains(k_runtime_name);
}

void write_config(const fs::path& path, const std::string& text, unsigned mode) {
    if (text.empty()) {
        std::error_code ignored;
        fs::remove(path, ignored);
    } else {
        base::replace_file(path, text, mode);
    }
}

}  // namespace

fs::path find_own_runtime() {
    std::error_code ignored;
    fs::path self = fs::read_symlink("/proc/self/exe", ignored).parent_path();
    for (const fs::path& candidate :
         {self / "cprewind-runtime", self / "../libexec/cprewind/cprewind-runtime"}) {
        if (::access(candidate.c_str(), X_OK) == 0) return fs::weakly_canonical(candidate);
    }
    throw Error(ErrorKind::not_found,
                fmt::format("cprewind-runtime is not beside cprewind in {}", self.string()),
                "install both (make install), or name it: --runtime-path FILE");
}

SetupPlan plan_setup(const SetupRequest& request) {
    SetupPlan plan;
    plan.request = request;
    std::string text = read_or_empty(request.config);
    std::string name = request.config.string();
    if (request.undo) {
        plan.change = unregister_runtime(text, name);
    } else {
        if (!request.runtime.is_absolute() || ::access(request.runtime.c_str(), X_OK) != 0) {
            throw Error(ErrorKind::not_found,
                        fmt::format("{} is not an absolute path of an executable", request.runtime.string()));
        }
        plan.change = register_runtime(text, request.runtime.string(), request.make_default, name);
    }
    if (!plan.change.changes()) return plan;
    if (request.undo) {
        plan.steps.push_back(fmt::format("remove the runtime '{}' from {}", k_runtime_name, name));
    } else {
        plan.steps.push_back(fmt::format("register {} as runtime '{}' in {}{}", request.runtime.string(),
                                         k_runtime_name, name, text.empty() ? " (a new file)" : ""));
        if (request.make_default) {
            plan.steps.push_back("make it the default runtime for containers created from now on");
        }
    }
    plan.steps.push_back("make dockerd reload its configuration (SIGHUP; containers are not touched)");
    return plan;
}

pid_t find_dockerd() {
    for (const char* file : {"/run/docker.pid", "/var/run/docker.pid"}) {
        try {
            auto pid = base::parse_number(base::trim(base::read_file(file)));
            if (!pid) continue;
            // A pid file outlives its daemon; the name tells.
            if (base::trim(base::read_file(fmt::format("/proc/{}/comm", *pid))) == "dockerd") {
                return static_cast<pid_t>(*pid);
            }
        } catch (const Error&) {
            continue;
        }
    }
    return 0;
}

void apply_setup(DockerClient& docker, const SetupPlan& plan) {
    const fs::path& config = plan.request.config;
    pid_t dockerd = find_dockerd();
    if (dockerd == 0) {
        throw Error(ErrorKind::unavailable,
                    "no running dockerd is named by /run/docker.pid, so it cannot be reloaded",
                    "nothing was changed; start Docker first, in this same mount and pid namespace");
    }
    std::error_code ignored;
    fs::create_directories(config.parent_path(), ignored);
    if (!plan.change.after.empty()) validate(plan.change.after, config.parent_path());
    unsigned mode = mode_of(config);
    write_config(config, plan.change.reload, mode);
    try {
        if (::kill(dockerd, SIGHUP) != 0) base::throw_errno(errno, "send SIGHUP to dockerd");
        auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
        while (shows_runtime(docker) == plan.request.undo) {
            if (std::chrono::steady_clock::now() > deadline) {
                throw Error(
                    ErrorKind::failed,
                    fmt::format("dockerd still {} the runtime '{}' 10 s after SIGHUP",
                                plan.request.undo ? "shows" : "does not show", k_runtime_name),
                    fmt::format("does dockerd read {}? (--config-file says which); the file is as it was",
                                config.string()));
            }
            std::this_thread::sleep_for(std::chrono::milliseconds(50));
        }
        if (plan.change.after != plan.change.reload) write_config(config, plan.change.after, mode);
    } catch (...) {
        write_config(config, plan.change.before, mode);
        ::kill(dockerd, SIGHUP);
        throw;
    }
}

}  // namespace cprewind::engine

// cprewind-runtime: an OCI runtime that is runc, except that it restores a container instead of creating it
// when `cprewind rewind` left a plan for it (runtime/plan.h).
//
// It stands in front of every container start of the host, so the way through it that is not a rewind is kept
// short: read the words, look for one directory, execve. When in doubt it is runc: a command line or a plan
// that it does not fully understand goes on unchanged. The one thing it never does is to start a container
// afresh once its plan was taken.
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/process.h"
#include "runtime/arguments.h"
#include "runtime/loopback.h"
#include "runtime/plan.h"
#include "runtime/restore.h"

namespace {
using namespace cprewind::runtime;  // NOLINT: main.cpp of this room

constexpr int k_cannot_run = 127;  // as a shell says it

// A shim started by hand may come without PATH; runc needs one as well, to find criu.
std::string find_runc() {
    ::setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 0);
    const char* chosen = std::getenv("CPREWIND_RUNC");
    std::string name = chosen != nullptr && *chosen != '\0' ? chosen : "runc";
    return cprewind::base::find_program(name).value_or(name);
}

[[noreturn]] void become_runc(const std::string& runc, char** argv) {
    // argv[0] as well: runc shows it in its help only.
    ::execv(runc.c_str(), argv);
    int e = errno;
    std::string message = fmt::format("cprewind-runtime: cannot run {}: {}\n", runc, std::strerror(e));
    [[maybe_unused]] ssize_t n = ::write(STDERR_FILENO, message.data(), message.size());
    ::_exit(k_cannot_run);
}

int run_hook(std::span<const std::string> addresses) {
    try {
        raise_loopback(addresses);
    } catch (const cprewind::base::Error& e) {
        // Most containers restore without lo; where it matters, CRIU says what it could not do.
        fmt::print(stderr, "cprewind-runtime: {}\n", e.message());
    }
    return 0;
}

// An outcome that is no longer true: the container that was restored is gone. A failed one stays: containerd
// deletes at once what could not be created, and CRIU's log is still wanted.
void forget_restored(const std::filesystem::path& state, const std::string& container_id) {
    if (outcome_of(state, container_id) != Outcome::restored) return;
    try {
        forget_taken(state, container_id);
    } catch (const cprewind::base::Error&) {
        // Whoever leaves the next plan sees to it.
    }
}

// The exit status, or nothing when runc is to do it.
std::optional<int> act(const std::string& runc, const CommandLine& line) {
    auto state = state_directory();
    if (line.verb == "create") {
        if (auto plan = take_plan(state, line.container_id))
            return restore_container(runc, line, *plan, state);
        // Also for a `create` whose `delete` did not pass here: it must not find its `start` swallowed.
        forget_restored(state, line.container_id);
    } else if (line.verb == "delete") {
        // Before runc removes the directory, with everything in it.
        release_mounts(std::filesystem::path(line.root) / line.container_id);
        forget_restored(state, line.container_id);
    } else if (swallow_start(state, line.container_id)) {
        return 0;
    }
    return std::nullopt;
}

}  // namespace

int main(int argc, char** argv) {
    std::vector<std::string> words(argv + (argc > 0 ? 1 : 0), argv + argc);
    if (!words.empty() && words[0] == k_hook_verb) return run_hook(std::span(words).subspan(1));
    std::string runc = find_runc();
    auto line = parse_command_line(words);
    if (line) {
        try {
            if (auto status = act(runc, *line)) return *status;
        } catch (const std::exception& e) {
            // Only a plan that was taken and then failed us gets here (take_plan), or a file system that
            // fails.
            log_error(*line, fmt::format("cprewind: {}", e.what()));
            return 1;
        }
    }
    become_runc(runc, argv);
}

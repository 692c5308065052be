#include "engine/dump.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <utility>

#include "base/error.h"
#include "base/fd.h"
#include "base/process.h"
#include "base/text.h"
#include "engine/criu_log.h"

namespace cprewind::engine {
namespace {

using base::Error;
using base::ErrorKind;
namespace fs = std::filesystem;

// CRIU gives up by itself what it cannot end: after ten seconds for a process that does not stop.
constexpr int k_criu_patience_ms = 30'000;

std::string read_if_there(const fs::path& path) {
    try {
        return base::read_file(path);
    } catch (const Error&) {
        return {};
    }
}

// The runtime's own message: the last "msg" of its JSON log, or its standard error.
std::string runtime_message(const fs::path& log, const std::string& standard_error) {
    std::string message;
    for (const std::string& line : base::split(read_if_there(log), '\n')) {
        auto parsed = nlohmann::json::parse(line, nullptr, false);
        if (parsed.is_object() && parsed.value("level", "") == "error") message = parsed.value("msg", "");
    }
    return message.empty() ? std::string(base::trim(standard_error)) : message;
}

std::pair<base::Fd, base::Fd> make_pipe() {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) base::throw_errno(errno, "create a pipe");
    return {base::Fd(ends[0]), base::Fd(ends[1])};
}

// When runc is killed, the CRIU that it started first takes its code out of the processes again: they must not
// be let run before that. It has inherited the other end.
void wait_until_closed(int fd) {
    pollfd waits{fd, POLLIN, 0};
    while (::poll(&waits, 1, k_criu_patience_ms) < 0 && errno == EINTR) {
    }
}

[[noreturn]] void throw_dump_failed(const Container& container, const std::string& criu_log,
                                    const std::string& otherwise) {
    keep_failed_log(criu_log);
    auto cause = explain_criu_log(criu_log);
    std::string said = cause ? cause->cause : base::escape(otherwise);
    throw Error(ErrorKind::failed, fmt::format("CRIU cannot dump container {}: {}", container.name, said),
                cause ? cause->remedy : "cprewind doctor tells what this host can do", criu_log);
}

void dump_by_runtime(const Container& container, const RuntimeHandle& runtime, const fs::path& images,
                     const fs::path& work, const std::vector<int>& holds) {
    fs::path log = work / "runtime.log";
    std::vector<std::string> argv = {runtime.binary,    "--root",       runtime.root,    "--log",
                                     log.string(),      "--log-format", "json",          "checkpoint",
                                     "--leave-running", "--image-path", images.string(), "--work-path",
                                     work.string()};
    for (const std::string& option : criu_options()) argv.push_back(option);
    argv.push_back(container.id);
    base::SpawnOptions options;
    // A Ctrl-C that ends us must not end CRIU while its code sits in the processes it dumps.
    options.own_session = true;
    options.inherited = holds;
    auto [ended, held] = make_pipe();
    options.inherited.push_back(held.get());
    base::Output output = base::run(argv, options);
    held.reset();
    if (output.status.success()) return;
    wait_until_closed(ended.get());
    std::string message = runtime_message(log, output.err);
    throw_dump_failed(
        container, read_if_there(work / "dump.log"),
        message.empty() ? fmt::format("{}: {}", runtime.binary, output.status.describe()) : message);
}

void dump_by_api(DockerClient& docker, const Container& container, const fs::path& images) {
    try {
        docker.checkpoint(container.id, images.filename().string(), images.parent_path().string());
    } catch (const Error& error) {
        // runc's work directory is the daemon's business; its message names a log that is gone by now.
        throw Error(error.kind(), error.message(), "try --via runtime: it tells the cause from CRIU's log",
                    error.detail());
    }
}

}  // namespace

const std::vector<std::string>& criu_options() {
    // What Docker cannot pass on: keep TCP connections, file locks, and unix sockets to the outside.
    static const std::vector<std::string> k_options = {"--tcp-established", "--file-locks", "--ext-unix-sk"};
    return k_options;
}

DumpMethod choose_method(DockerClient& docker, const Container& container, Via wanted) {
    std::optional<RuntimeHandle> runtime;
    if (wanted != Via::api) runtime = find_runtime(docker, container);
    if (runtime) {
        if (!base::find_program("criu")) {
            throw Error(ErrorKind::unavailable, "CRIU is not installed on this host (no 'criu' in PATH)",
                        "install it: apt install criu; then: cprewind doctor");
        }
        if (!base::find_program(runtime->binary)) {
            throw Error(ErrorKind::unavailable,
                        fmt::format("the runtime of container {} is {}, which is not here", container.name,
                                    base::escape(runtime->binary)),
                        "run cprewind on the host (and in the file system) where dockerd runs");
        }
        return {Via::runtime, *runtime};
    }
    if (auto foreign = find_foreign_runtime(container)) {
        throw Error(
            ErrorKind::unsupported,
            fmt::format("container {} runs under {} (its runtime is '{}'), and cprewind snaps and rewinds "
                        "what runs under runc",
                        container.name, *foreign, base::escape(container.runtime)),
            "create it with --runtime cprewind (which is runc), or --runtime runc");
    }
    if (wanted == Via::runtime) {
        throw Error(
            ErrorKind::unsupported,
            fmt::format("the state of container {} is in no runc directory below /run/docker (its runtime "
                        "is '{}')",
                        container.name, base::escape(container.runtime)),
            "use --via api, or create the container with --runtime runc or cprewind");
    }
    if (!docker.version().experimental) {
        throw Error(
            ErrorKind::unsupported,
            fmt::format("container {} can only be checkpointed by Docker, and Docker's experimental features "
                        "are off",
                        container.name),
            R"(add "experimental": true to /etc/docker/daemon.json and restart dockerd)");
    }
    return {Via::api, {}};
}

void dump(DockerClient& docker, const Container& container, const DumpMethod& method, const fs::path& images,
          const fs::path& work, const std::vector<int>& holds) {
    if (method.via == Via::runtime) {
        base::make_private_directory(images);
        base::make_private_directory(work);
        dump_by_runtime(container, method.runtime, images, work, holds);
    } else {
        dump_by_api(docker, container, images);
    }
}

}  // namespace cprewind::engine

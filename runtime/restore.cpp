#include "runtime/restore.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/fd.h"
#include "base/process.h"
#include "base/text.h"
#include "runtime/bundle.h"
#include "runtime/loopback.h"

namespace cprewind::runtime {
namespace fs = std::filesystem;

namespace {

// CRIU at its most talkative writes some hundred bytes per object; a log beyond this is read no further.
constexpr uint64_t k_log_limit = 64u << 20;

base::ExitStatus run_runc(const std::string& runc, std::vector<std::string> words, bool quietly) {
    words.insert(words.begin(), runc);
    base::SpawnOptions options;
    // What we would not see the end of must not go on: nobody would know whose processes those are.
    options.dies_with_us = true;
    if (!quietly) {
        // The container's own standard streams come through us: containerd gave them to `create`.
        options.standard_in = STDIN_FILENO;
        options.standard_out = STDOUT_FILENO;
        options.standard_error = STDERR_FILENO;
    }
    return base::Child(words, options).wait();
}

// When this fails the container has its own addresses on its loopback as well, which nobody notices.
void take_addresses_back(const std::string& pid_file, const std::vector<std::string>& addresses) noexcept {
    try {
        if (auto pid = base::parse_number(base::trim(base::read_file(pid_file)))) {
            lower_loopback(static_cast<pid_t>(*pid), addresses);
        }
    } catch (...) {
    }
}

// CRIU puts back an OOM score only when it is not 0, and what it makes inherits ours otherwise: a shim's, which
// is dockerd's and protects it. A container must not come back as hard to kill as its engine.
void take_ordinary_oom_score() noexcept {
    try {
        base::write_full(base::open_file("/proc/self/oom_score_adj", O_WRONLY).get(), base::as_bytes("0"),
                         "oom_score_adj");
    } catch (...) {
        // Where we may not lower it, no container here has a score of 0 either.
    }
}

void write_result(const fs::path& taken, bool restored, const base::ExitStatus& status) {
    base::replace_file(taken / "result",
                       fmt::format("outcome={}\nexit={}\n", restored ? "restored" : "failed",
                                   status.exited ? status.code : 128 + status.signal));
}

// What runc itself said last, when it failed before CRIU had a log (a missing image directory).
std::string last_error_of_runc(const CommandLine& line) {
    if (line.log.empty() || line.log_format != "json") return {};
    std::string last;
    try {
        for (const std::string& text : base::split(base::read_file(line.log, k_log_limit), '\n')) {
            auto entry = nlohmann::json::parse(text, nullptr, false);
            if (entry.is_object() && entry.value("level", "") == "error") last = entry.value("msg", "");
        }
    } catch (const std::exception&) {
        // No log, or one with members of other types: then runc's words stay unknown.
    }
    return base::escape(last);
}

}  // namespace

std::string cause_in_log(const fs::path& log) {
    std::string text;
    try {
        text = base::read_file(log, k_log_limit);
    } catch (const base::Error&) {
        return {};
    }
    // "(00.058142)      1: Error (criu/files-reg.c:2255): File data.txt has bad size 20 (expect 10)". The
    // first error is the reason; those after it are its consequences up the stack. One before it is none:
    // CRIU says it wherever it may not raise its own limit of open files, and goes on.
    for (const std::string& line : base::split(text, '\n')) {
        size_t error = line.find("Error (");
        size_t colon = error == line.npos ? line.npos : line.find("): ", error);
        if (colon == line.npos) continue;
        std::string_view message = base::trim(std::string_view(line).substr(colon + 3));
        if (!message.starts_with("rlimit: Can't setup RLIMIT_NOFILE")) return base::escape(message);
    }
    return {};
}

void log_error(const CommandLine& line, const std::string& message) noexcept {
    try {
        [[maybe_unused]] ssize_t n = ::write(STDERR_FILENO, (message + "\n").c_str(), message.size() + 1);
        if (line.log.empty()) return;
        nlohmann::json entry = {
            {"level", "error"}, {"msg", message}, {"time", base::rfc3339(std::chrono::system_clock::now())}};
        auto quoted = [&entry](const char* key) {
            return entry[key].dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
        };
        std::string text = line.log_format == "json"
                               ? entry.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)
                               : fmt::format("time={} level=error msg={}", quoted("time"), quoted("msg"));
        base::Fd log = base::open_file(line.log, O_WRONLY | O_APPEND | O_CREAT, 0644);
        base::write_full(log.get(), base::as_bytes(text + "\n"), line.log);
    } catch (...) {
        // The message is on standard error at least; there is nowhere left to complain.
    }
}

int restore_container(const std::string& runc, const CommandLine& create, const Plan& plan,
                      const fs::path& state) {
    fs::path taken = taken_directory(state, create.container_id);
    fs::path own_state = fs::path(create.root) / create.container_id;
    base::ExitStatus status{.exited = true, .code = 1};
    std::string cause;
    try {
        fs::path bundle = create.bundle.empty() ? fs::current_path() : fs::path(create.bundle);
        prepare_bundle(bundle, fs::read_symlink("/proc/self/exe"), plan);
        take_ordinary_oom_score();
        // A restore that was killed; a container would have its state there.
        if (fs::exists(own_state) && !fs::exists(own_state / "state.json")) {
            release_mounts(own_state);
            run_runc(runc, delete_words(create), true);
        }
        status = run_runc(runc, restore_words(create, plan, taken.string()), false);
        if (status.success()) {
            if (!plan.addresses.empty()) take_addresses_back(create.pid_file, plan.addresses);
            write_result(taken, true, status);
            return 0;
        }
        cause = cause_in_log(taken / "restore.log");
        if (cause.empty()) cause = last_error_of_runc(create);
        if (cause.empty()) cause = fmt::format("runc restore ended with {}", status.describe());
    } catch (const base::Error& e) {
        cause = e.message();
    } catch (const std::exception& e) {
        cause = e.what();
    }

    try {
        release_mounts(own_state);
        run_runc(runc, delete_words(create), true);
    } catch (const base::Error&) {
        // runc is gone; then there is no container either.
    }
    log_error(create, fmt::format("cprewind: cannot restore the container from {}: {} (CRIU's log: {})",
                                  plan.images, cause, (taken / "restore.log").string()));
    try {
        write_result(taken, false, status);
    } catch (const base::Error& e) {
        log_error(create, fmt::format("cprewind: {}", e.message()));
    }
    return status.exited && status.code != 0 ? status.code : 1;
}

bool swallow_start(const fs::path& state, const std::string& container_id) {
    if (outcome_of(state, container_id) != Outcome::restored) return false;
    fs::path mark = taken_directory(state, container_id) / "started";
    base::Fd fd(::open(mark.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
    return static_cast<bool>(fd);
}

}  // namespace cprewind::runtime

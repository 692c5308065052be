// Running other programs: one owner per child, and a wait status that is read in exactly one place.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/fd.h"

namespace cprewind::base {

// How a child ended. `describe` says it in words: "exit status 1", "killed by signal 9 (Killed)".
struct ExitStatus {
    bool exited = false;
    int code = 0;    // when exited
    int signal = 0;  // when not

    bool success() const { return exited && code == 0; }
    std::string describe() const;
};

struct SpawnOptions {
    std::string working_directory;    // empty: ours
    bool own_session = false;         // setsid: a Ctrl-C at the terminal does not reach it
    bool dies_with_us = false;        // killed (SIGKILL) when the calling thread ends, however it ends
    std::optional<int> standard_in;   // none: /dev/null
    std::optional<int> standard_out;  // none: /dev/null
    std::optional<int> standard_error;
    std::vector<int> inherited;  // kept open across exec under their own numbers
};

// A running child. Destroying it without wait() kills it (SIGKILL) and waits: no zombie, no orphan by
// accident.
class Child {
 public:
    Child() = default;
    // argv[0] is looked up in PATH. A program that cannot be started is an Error here, not an exit status.
    Child(const std::vector<std::string>& argv, const SpawnOptions& options = {});
    Child(Child&& other) noexcept : pid_(std::exchange(other.pid_, -1)) {}
    // A child that was made by fork(2): its owner from here on.
    static Child adopt(pid_t pid);
    Child& operator=(Child&&) = delete;
    ~Child();

    pid_t pid() const { return pid_; }
    ExitStatus wait();
    // Like wait, but gives up after `limit` (nothing is killed).
    std::optional<ExitStatus> wait_for(std::chrono::milliseconds limit);
    // From here on the child lives on its own.
    pid_t release() { return std::exchange(pid_, -1); }

 private:
    pid_t pid_ = -1;
};

struct Output {
    ExitStatus status;
    std::string out;
    std::string err;
};

// Runs to the end and collects what it printed (each stream at most 16 MiB).
Output run(const std::vector<std::string>& argv, const SpawnOptions& options = {});

// The path of `program` in PATH, or nothing.
std::optional<std::string> find_program(const std::string& program);

}  // namespace cprewind::base

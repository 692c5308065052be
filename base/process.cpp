#include "base/process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "base/error.h"

namespace cprewind::base {
namespace {

constexpr size_t k_output_limit = 16u << 20;

ExitStatus from_wait_status(int raw) {
    ExitStatus status;
    status.exited = WIFEXITED(raw);
    if (status.exited) {
        status.code = WEXITSTATUS(raw);
    } else {
        status.signal = WTERMSIG(raw);
    }
    return status;
}

std::pair<Fd, Fd> make_pipe() {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) throw_errno(errno, "create a pipe");
    return {Fd(ends[0]), Fd(ends[1])};
}

// Between fork and exec: only async-signal-safe calls. Reports errno through `report` when exec fails.
[[noreturn]] void become(char* const* argv, const SpawnOptions& options, int null_fd, int report,
                         pid_t parent) {
    auto fail = [report] {
        int e = errno;
        [[maybe_unused]] ssize_t n = ::write(report, &e, sizeof e);
        ::_exit(127);
    };
    sigset_t none;
    ::sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    ::signal(SIGPIPE, SIG_DFL);
    ::signal(SIGXFSZ, SIG_DFL);
    if (options.own_session && ::setsid() < 0) fail();
    if (options.dies_with_us) {
        if (::prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) fail();
        if (::getppid() != parent) ::_exit(127);  // it was too late to ask
    }
    if (::dup2(options.standard_in.value_or(null_fd), 0) < 0) fail();
    if (::dup2(options.standard_out.value_or(null_fd), 1) < 0) fail();
    if (::dup2(options.standard_error.value_or(null_fd), 2) < 0) fail();
    for (int fd : options.inherited) {
        if (::fcntl(fd, F_SETFD, 0) < 0) fail();
    }
    if (!options.working_directory.empty() && ::chdir(options.working_directory.c_str()) != 0) fail();
    ::execvp(argv[0], argv);
    fail();
    ::_exit(127);
}

}  // namespace

std::string ExitStatus::describe() const {
    if (exited) return fmt::format("exit status {}", code);
    return fmt::format("killed by signal {} ({})", signal, ::strsignal(signal));
}

Child::Child(const std::vector<std::string>& argv, const SpawnOptions& options) {
    CPREWIND_CHECK(!argv.empty());
    std::vector<char*> raw;
    for (const std::string& a : argv) raw.push_back(const_cast<char*>(a.c_str()));
    raw.push_back(nullptr);
    Fd null_fd = open_file("/dev/null", O_RDWR);
    auto [report_in, report_out] = make_pipe();

    pid_t parent = ::getpid();
    pid_ = ::fork();
    if (pid_ < 0) throw_errno(errno, fmt::format("start {}", argv[0]));
    if (pid_ == 0) become(raw.data(), options, null_fd.get(), report_out.get(), parent);

    report_out.reset();
    int e = 0;
    if (read_full(report_in.get(), std::as_writable_bytes(std::span(&e, 1)), "the child's report") ==
        sizeof e) {
        wait();
        throw_errno(e, fmt::format("run {}", argv[0]));
    }
}

Child Child::adopt(pid_t pid) {
    CPREWIND_CHECK(pid > 0);
    Child child;
    child.pid_ = pid;
    return child;
}

Child::~Child() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    int raw = 0;
    while (::waitpid(pid_, &raw, 0) < 0 && errno == EINTR) {
    }
}

ExitStatus Child::wait() {
    CPREWIND_CHECK(pid_ > 0);
    int raw = 0;
    while (::waitpid(pid_, &raw, 0) < 0) {
        if (errno != EINTR) throw_errno(errno, "wait for a child process");
    }
    pid_ = -1;
    return from_wait_status(raw);
}

std::optional<ExitStatus> Child::wait_for(std::chrono::milliseconds limit) {
    CPREWIND_CHECK(pid_ > 0);
    auto deadline = std::chrono::steady_clock::now() + limit;
    for (;;) {
        int raw = 0;
        pid_t n = ::waitpid(pid_, &raw, WNOHANG);
        if (n < 0 && errno != EINTR) throw_errno(errno, "wait for a child process");
        if (n > 0) {
            pid_ = -1;
            return from_wait_status(raw);
        }
        if (std::chrono::steady_clock::now() >= deadline) return std::nullopt;
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
}

Output run(const std::vector<std::string>& argv, const SpawnOptions& options) {
    auto [out_in, out_out] = make_pipe();
    auto [err_in, err_out] = make_pipe();
    SpawnOptions piped = options;
    piped.standard_out = out_out.get();
    piped.standard_error = err_out.get();
    Child child(argv, piped);
    out_out.reset();
    err_out.reset();

    Output output;
    std::array<pollfd, 2> polls{pollfd{out_in.get(), POLLIN, 0}, pollfd{err_in.get(), POLLIN, 0}};
    std::array<std::string*, 2> texts{&output.out, &output.err};
    size_t open_ends = 2;
    std::array<char, 65536> buffer{};
    while (open_ends > 0) {
        if (::poll(polls.data(), polls.size(), -1) < 0 && errno != EINTR) throw_errno(errno, "poll");
        for (size_t i = 0; i < polls.size(); ++i) {
            if (polls[i].fd < 0 || polls[i].revents == 0) continue;
            ssize_t n = ::read(polls[i].fd, buffer.data(), buffer.size());
            if (n > 0) {
                size_t room = k_output_limit - std::min(k_output_limit, texts[i]->size());
                texts[i]->append(buffer.data(), std::min(room, static_cast<size_t>(n)));
            } else if (n == 0 || errno != EINTR) {
                polls[i].fd = -1;
                --open_ends;
            }
        }
    }
    output.status = child.wait();
    return output;
}

std::optional<std::string> find_program(const std::string& program) {
    if (program.find('/') != std::string::npos) {
        if (::access(program.c_str(), X_OK) == 0) return program;
        return std::nullopt;
    }
    const char* raw = std::getenv("PATH");
    std::string path = raw != nullptr ? raw : "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    size_t begin = 0;
    while (begin <= path.size()) {
        size_t end = std::min(path.find(':', begin), path.size());
        std::string candidate = path.substr(begin, end - begin) + "/" + program;
        if (::access(candidate.c_str(), X_OK) == 0) return candidate;
        begin = end + 1;
    }
    return std::nullopt;
}

}  // namespace cprewind::base

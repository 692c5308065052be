#include "engine/guard.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/error.h"

namespace cprewind::engine {
namespace {

// The child must not keep alive what is ours: a caller's pipes (it would wait for them), locks, sockets.
void keep_only(std::vector<int> kept) {
    int null_fd = ::open("/dev/null", O_RDWR);
    for (int standard : {0, 1, 2}) ::dup2(null_fd, standard);
    std::sort(kept.begin(), kept.end());
    unsigned next = 3;
    for (int fd : kept) {
        auto number = static_cast<unsigned>(fd);
        if (number > next) ::close_range(next, number - 1, 0);
        next = std::max(next, number + 1);
    }
    ::close_range(next, ~0u, 0);
}

[[noreturn]] void live_as_guard(int fd, const std::function<void()>& action, std::vector<int> kept) {
    ::setsid();
    ::prctl(PR_SET_NAME, "cprewind-guard");
    for (int number : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE}) ::signal(number, SIG_IGN);
    kept.push_back(fd);
    keep_only(std::move(kept));
    char word = 0;
    ssize_t n = 0;
    while ((n = ::read(fd, &word, 1)) < 0 && errno == EINTR) {
    }
    if (n == 0) {
        try {
            action();
        } catch (...) {
            ::_exit(1);
        }
    }
    ::_exit(0);
}

}  // namespace

Guard::Guard(const std::function<void()>& action, std::vector<int> holds) {
    std::array<int, 2> ends{};
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) {
        base::throw_errno(errno, "make the guard's socket");
    }
    ours_ = base::Fd(ends[0]);
    base::Fd theirs(ends[1]);
    child_ = ::fork();
    if (child_ < 0) base::throw_errno(errno, "start the guard");
    if (child_ == 0) live_as_guard(theirs.get(), action, std::move(holds));
}

Guard::~Guard() {
    if (child_ <= 0) return;
    ours_.reset();
    wait();
}

void Guard::disarm() {
    CPREWIND_CHECK(child_ > 0);
    // The child may have been killed: then there is nothing left to disarm.
    [[maybe_unused]] ssize_t n = ::send(ours_.get(), "x", 1, MSG_NOSIGNAL);
    ours_.reset();
    wait();
}

void Guard::wait() {
    int raw = 0;
    while (::waitpid(child_, &raw, 0) < 0 && errno == EINTR) {
    }
    child_ = -1;
}

}  // namespace cprewind::engine

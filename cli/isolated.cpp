#include "cli/isolated.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <vector>

#include "base/error.h"
#include "base/fd.h"

namespace cprewind::cli {
namespace {

constexpr size_t k_answer_limit = 256u << 20;

[[noreturn]] void be_child(const std::function<std::string()>& work, unsigned seconds, uint64_t memory,
                           int fd) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (int fatal : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGXCPU}) ::signal(fatal, SIG_DFL);
    rlimit none{0, 0}, time{seconds, seconds}, space{memory, memory};
    ::setrlimit(RLIMIT_CORE, &none);
    ::setrlimit(RLIMIT_CPU, &time);
    ::setrlimit(RLIMIT_AS, &space);
    int status = 1;
    try {
        std::string answer = work();
        base::write_full(fd, base::as_bytes(answer), "an answer");
        status = 0;
    } catch (...) {
        status = 1;
    }
    // Nothing of the parent's is to be flushed or removed by us.
    ::_exit(status);
}

}  // namespace

IsolatedResult run_isolated(const std::function<std::string()>& work, unsigned seconds, uint64_t memory) {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) base::throw_errno(errno, "create a pipe");
    base::Fd in(ends[0]), out(ends[1]);
    pid_t pid = ::fork();
    if (pid < 0) base::throw_errno(errno, "start a child process");
    if (pid == 0) {
        in.reset();
        be_child(work, seconds, memory, out.get());
    }
    base::Child child = base::Child::adopt(pid);
    out.reset();
    IsolatedResult result;
    std::vector<std::byte> block(1u << 16);
    while (result.answer.size() < k_answer_limit) {
        size_t got = base::read_full(in.get(), block, "an answer");
        result.answer.append(base::as_text(std::span(block).first(got)));
        if (got < block.size()) break;
    }
    in.reset();
    result.status = child.wait();
    return result;
}

}  // namespace cprewind::cli

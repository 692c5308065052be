// A small child that puts things right when we die: kill -9, the OOM killer, a crash, Ctrl-C.
//
// It is forked before the container is touched, lives in a session of its own with no terminal, and waits on
// a socket. If the socket closes before disarm(), it runs `action`. Children that must end before the action
// may begin (a dump in progress: CRIU must not find its victims running) are given hold_fd() to inherit. One
// guard can hold others back the same way: whoever puts things right needs the staging directory until it is
// done.
#pragma once

#include <sys/types.h>

#include <functional>
#include <vector>

#include "base/fd.h"

namespace cprewind::engine {

class Guard {
 public:
    // Must be called while this process has one thread. The action runs in the child, on a copy of our memory
    // as of now; it must open its own connections. It cannot report: exceptions end it. `holds`: descriptors
    // that the child keeps open as long as it lives; all others it closes.
    explicit Guard(const std::function<void()>& action, std::vector<int> holds = {});
    Guard(const Guard&) = delete;
    Guard& operator=(const Guard&) = delete;
    // Not disarmed (an exception passes): the action runs now, in the child, and is waited for.
    ~Guard();

    int hold_fd() const { return ours_.get(); }
    // The danger is over: the child goes, the action never runs.
    void disarm();

 private:
    void wait();

    base::Fd ours_;
    pid_t child_ = -1;
};

}  // namespace cprewind::engine

#include "base/process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <catch2/catch_test_macros.hpp>

#include "base/error.h"

using namespace cprewind::base;

TEST_CASE("both streams and the status of a program are collected") {
    Output output = run({"sh", "-c", "echo out; echo err >&2; exit 3"});
    CHECK(output.out == "out\n");
    CHECK(output.err == "err\n");
    CHECK(output.status.describe() == "exit status 3");
    CHECK_FALSE(output.status.success());
}

TEST_CASE("death by a signal is not an exit status") {
    Output output = run({"sh", "-c", "kill -9 $$"});
    CHECK_FALSE(output.status.exited);
    CHECK(output.status.describe() == "killed by signal 9 (Killed)");
}

TEST_CASE("a program that cannot be started is an error that names it") {
    try {
        run({"no-such-program-here"});
        FAIL("no error");
    } catch (const Error& error) {
        CHECK(error.message().find("no-such-program-here") != std::string::npos);
    }
}

TEST_CASE("more output than a pipe holds is read to the end") {
    CHECK(run({"sh", "-c", "head -c 300000 /dev/zero; head -c 300000 /dev/zero >&2"}).out.size() == 300000);
}

TEST_CASE("a child that nobody waits for is killed with its owner") {
    pid_t pid = 0;
    {
        Child child({"sleep", "1000"});
        pid = child.pid();
        CHECK(::kill(pid, 0) == 0);
    }
    CHECK(::kill(pid, 0) != 0);
}

TEST_CASE("waiting with a limit gives up and leaves the child alone") {
    Child child({"sleep", "1000"});
    CHECK_FALSE(child.wait_for(std::chrono::milliseconds(20)));
    CHECK(::kill(child.pid(), 0) == 0);
}

TEST_CASE("programs are found in PATH") {
    CHECK(find_program("sh"));
    CHECK(find_program("/bin/sh") == "/bin/sh");
    CHECK_FALSE(find_program("no-such-program-here"));
}

TEST_CASE("a child that dies with us ends when its maker is killed") {
    std::array<int, 2> ends{};
    REQUIRE(::pipe2(ends.data(), O_CLOEXEC) == 0);
    pid_t maker = ::fork();
    REQUIRE(maker >= 0);
    if (maker == 0) {
        SpawnOptions options;
        options.dies_with_us = true;
        options.inherited = {ends[1]};
        Child child({"sleep", "1000"}, options);
        ::kill(::getpid(), SIGKILL);
    }
    ::close(ends[1]);
    int status = 0;
    REQUIRE(::waitpid(maker, &status, 0) == maker);
    // The other end is closed when nobody holds it any more.
    char byte = 0;
    CHECK(::read(ends[0], &byte, 1) == 0);
    ::close(ends[0]);
}

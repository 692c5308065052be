#include "engine/guard.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <chrono>
#include <filesystem>
#include <thread>

#include "base/fd.h"
#include "base/process.h"

using namespace cprewind;
using engine::Guard;
namespace fs = std::filesystem;

namespace {

bool appears(const fs::path& path, std::chrono::milliseconds limit) {
    auto deadline = std::chrono::steady_clock::now() + limit;
    while (std::chrono::steady_clock::now() < deadline) {
        if (fs::exists(path)) return true;
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return fs::exists(path);
}

// A process that arms a guard, may start a child that inherits its hold, and is then killed.
void die_guarded(const fs::path& mark, bool with_child) {
    pid_t pid = ::fork();
    REQUIRE(pid >= 0);
    if (pid == 0) {
        Guard guard([mark] { base::replace_file(mark, "acted"); });
        base::SpawnOptions options;
        options.inherited = {guard.hold_fd()};
        options.own_session = true;
        if (with_child) base::Child({"sleep", "0.6"}, options).release();
        ::kill(::getpid(), SIGKILL);
    }
    int status = 0;
    REQUIRE(::waitpid(pid, &status, 0) == pid);
}

}  // namespace

TEST_CASE("a guard acts when its owner is killed") {
    base::TemporaryDirectory directory(fs::temp_directory_path(), "guard-test-");
    die_guarded(directory.path() / "mark", false);
    CHECK(appears(directory.path() / "mark", std::chrono::seconds(5)));
}

TEST_CASE("a guard waits for the child that holds it") {
    base::TemporaryDirectory directory(fs::temp_directory_path(), "guard-test-");
    die_guarded(directory.path() / "mark", true);
    CHECK_FALSE(appears(directory.path() / "mark", std::chrono::milliseconds(300)));
    CHECK(appears(directory.path() / "mark", std::chrono::seconds(5)));
}

TEST_CASE("a disarmed guard never acts, a dropped one has acted when it is gone") {
    base::TemporaryDirectory directory(fs::temp_directory_path(), "guard-test-");
    fs::path mark = directory.path() / "mark";
    {
        Guard guard([mark] { base::replace_file(mark, "acted"); });
        guard.disarm();
    }
    CHECK_FALSE(fs::exists(mark));
    {
        Guard guard([mark] { base::replace_file(mark, "acted"); });
    }
    CHECK(fs::exists(mark));
}

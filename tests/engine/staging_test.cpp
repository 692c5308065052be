#include "engine/staging.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <chrono>
#include <thread>

using namespace cprewind;
namespace fs = std::filesystem;

TEST_CASE("what memory cannot hold goes to the disk") {
    engine::StagingPlace place = engine::choose_staging(uint64_t{1} << 60, "/var/tmp");
    CHECK(place.directory == "/var/tmp");
}

TEST_CASE("a staging directory of a living process stays, one of a dead process goes") {
    base::TemporaryDirectory place(fs::temp_directory_path(), "staging-test-");
    fs::path path;
    {
        engine::Staging ours({place.path(), false, 0});
        path = ours.path();
        fs::create_directories(place.path() / "cprewind-staging-999999999-1-abcdef" / "images");
        fs::create_directories(place.path() / "cprewind-staging-nonsense");
        fs::create_directories(place.path() / "somebody-elses");
        CHECK(engine::remove_stale_staging(place.path()) == 2);
        CHECK(fs::exists(ours.path()));
        CHECK(fs::exists(place.path() / "somebody-elses"));
    }
    CHECK_FALSE(fs::exists(path));
}

TEST_CASE("a staging directory goes even when its maker is killed") {
    base::TemporaryDirectory place(fs::temp_directory_path(), "staging-test-");
    pid_t pid = ::fork();
    REQUIRE(pid >= 0);
    if (pid == 0) {
        engine::Staging staging({place.path(), false, 0});
        base::replace_file(staging.path() / "secret", "memory");
        ::kill(::getpid(), SIGKILL);
    }
    int status = 0;
    REQUIRE(::waitpid(pid, &status, 0) == pid);
    auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(5);
    while (!fs::is_empty(place.path()) && std::chrono::steady_clock::now() < deadline) {
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    CHECK(fs::is_empty(place.path()));
}

TEST_CASE("what a journal needs stays after the maker's death, and goes with the journal") {
    base::TemporaryDirectory place(fs::temp_directory_path(), "staging-test-");
    base::TemporaryDirectory journals(fs::temp_directory_path(), "journal-test-");
    fs::path journal = journals.path() / "web";
    base::replace_file(journal, "{}");
    pid_t pid = ::fork();
    REQUIRE(pid >= 0);
    if (pid == 0) {
        engine::Staging staging({place.path(), false, 0});
        staging.keep_for(journal);
        ::kill(::getpid(), SIGKILL);
    }
    int status = 0;
    REQUIRE(::waitpid(pid, &status, 0) == pid);
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    CHECK(engine::remove_stale_staging(place.path()) == 0);
    CHECK_FALSE(fs::is_empty(place.path()));
    fs::remove(journal);
    CHECK(engine::remove_stale_staging(place.path()) == 1);
    CHECK(fs::is_empty(place.path()));
}

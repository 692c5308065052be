#include "base/fd.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <catch2/catch_test_macros.hpp>

#include "base/error.h"

using namespace cprewind::base;
namespace fs = std::filesystem;

namespace {

unsigned mode_of(const fs::path& path) {
    struct stat st {};
    REQUIRE(::stat(path.c_str(), &st) == 0);
    return st.st_mode & 07777;
}

size_t entries_in(const fs::path& path) {
    return static_cast<size_t>(std::distance(fs::directory_iterator(path), fs::directory_iterator()));
}

}  // namespace

TEST_CASE("a file is replaced as a whole, with the mode asked for and nothing beside it") {
    TemporaryDirectory directory(fs::temp_directory_path(), "fd-test-");
    fs::path file = directory.path() / "f";
    replace_file(file, "one", 0600);
    replace_file(file, "two", 0640);
    CHECK(read_file(file) == "two");
    CHECK(mode_of(file) == 0640);
    CHECK(entries_in(directory.path()) == 1);
}

TEST_CASE("a file that cannot be replaced leaves nothing behind") {
    TemporaryDirectory directory(fs::temp_directory_path(), "fd-test-");
    // A directory that is not empty cannot be renamed over.
    fs::create_directories(directory.path() / "f" / "x");
    CHECK_THROWS_AS(replace_file(directory.path() / "f", "text"), Error);
    CHECK(entries_in(directory.path()) == 1);
}

TEST_CASE("a file above the limit is an error, not a truncated answer") {
    TemporaryDirectory directory(fs::temp_directory_path(), "fd-test-");
    fs::path file = directory.path() / "f";
    replace_file(file, std::string(1000, 'x'));
    CHECK(read_file(file, 1000).size() == 1000);
    CHECK_THROWS_AS(read_file(file, 999), Error);
}

TEST_CASE("files of proc, whose size is said to be 0, are read whole") {
    CHECK(read_file("/proc/self/status").find("Pid:") != std::string::npos);
}

TEST_CASE("a missing file is named in the error") {
    try {
        open_file("/nonexistent/file", O_RDONLY);
        FAIL("no error");
    } catch (const Error& error) {
        CHECK(error.kind() == ErrorKind::not_found);
        CHECK(error.message().find("/nonexistent/file") != std::string::npos);
    }
}

TEST_CASE("reading stops only at the end of the file") {
    TemporaryDirectory directory(fs::temp_directory_path(), "fd-test-");
    fs::path file = directory.path() / "f";
    replace_file(file, "0123456789");
    Fd fd = open_file(file, O_RDONLY);
    std::string out(20, '.');
    auto room = std::as_writable_bytes(std::span(out));
    CHECK(pread_full(fd.get(), room.subspan(0, 4), 3, "f") == 4);
    CHECK(out.substr(0, 4) == "3456");
    CHECK(pread_full(fd.get(), room, 8, "f") == 2);
    CHECK(pread_full(fd.get(), room, 10, "f") == 0);
}

TEST_CASE("a private directory is for its owner alone, and may exist already") {
    TemporaryDirectory directory(fs::temp_directory_path(), "fd-test-");
    fs::path made = directory.path() / "a" / "b";
    make_private_directory(made);
    make_private_directory(made);
    CHECK(mode_of(made) == 0700);
    replace_file(directory.path() / "file", "");
    CHECK_THROWS_AS(make_private_directory(directory.path() / "file"), Error);
}

TEST_CASE("a temporary directory goes with its owner, also when moved") {
    fs::path path;
    {
        TemporaryDirectory first(fs::temp_directory_path(), "fd-test-");
        path = first.path();
        replace_file(path / "f", "x");
        TemporaryDirectory second(std::move(first));
        CHECK(fs::exists(path));
    }
    CHECK_FALSE(fs::exists(path));
}

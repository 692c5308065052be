// Promise: readers never block, writers queue, and nobody takes a living writer's work for a dead one's.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <cstring>
#include <set>

#include "base/error.h"
#include "store/layout.h"
#include "store/sqlite.h"
#include "store/testing.h"
#include "tests/store/helpers.h"

using namespace cprewind;
using namespace cprewind::store;
using namespace cprewind::store::test;

TEST_CASE("writers of several processes at once get different numbers and all is sound") {
    Scratch scratch;
    scratch.open();
    std::vector<pid_t> children;
    for (int child = 0; child < 3; ++child) {
        pid_t pid = ::fork();
        if (pid == 0) {
            try {
                for (int i = 0; i < 8; ++i) {
                    auto repository = scratch.open(OpenMode::write);
                    auto record =
                        store::test::store(*repository, info_for("web", child * 100 + i), noise(300'000, 1));
                    if (i % 4 == 3) repository->remove(record.id);
                }
            } catch (...) {
                ::_exit(1);
            }
            ::_exit(0);
        }
        children.push_back(pid);
    }
    while (::waitpid(children.back(), nullptr, WNOHANG) == 0) {
        auto reader = scratch.open(OpenMode::read);
        REQUIRE(faults_of(*reader, false).empty());
    }
    children.pop_back();
    for (pid_t pid : children) {
        int status = 0;
        ::waitpid(pid, &status, 0);
        CHECK(status == 0);
    }
    auto repository = scratch.open(OpenMode::read);
    std::set<uint64_t> numbers;
    for (const SnapshotRecord& record : repository->list()) numbers.insert(record.number);
    CHECK(numbers.size() == 18);
    // A removal beside a writer leaves its space to the next one.
    CHECK(faults_of(*repository, false) == "");
    CHECK(faults_of(*scratch.open(OpenMode::write)) == "");
}

TEST_CASE("an open snapshot stays readable after it was removed") {
    Scratch scratch;
    auto repository = scratch.open();
    std::string content = noise(700'000, 3);
    SnapshotRecord record = store::test::store(*repository, info_for("web"), content);
    auto source = repository->open(record);
    scratch.open(OpenMode::write)->remove(record.id);
    auto file = source->open("images/pages-1.img");
    REQUIRE(file != nullptr);
    std::string back(content.size(), '\0');
    CHECK(file->read_at(0, std::as_writable_bytes(std::span(back))) == content.size());
    CHECK(back == content);
}

TEST_CASE("a reader is not kept waiting by a writer in the middle of its transaction") {
    Scratch scratch;
    auto repository = scratch.open();
    SnapshotRecord record = store::test::store(*repository, info_for("web"), "x");
    Database blocker(repository->catalog_path(), Database::Mode::write);
    Transaction held(blocker, Transaction::Kind::write);
    auto reader = scratch.open(OpenMode::read);
    CHECK(reader->list().size() == 1);
    CHECK(read_back(*reader, record, "container.json") == "{}");
    CHECK(faults_of(*reader).empty());
}

TEST_CASE("a writer that opens the repository leaves a living writer's work alone at every step") {
    static const Scratch* place = nullptr;
    static size_t steps = 0;
    Scratch scratch;
    auto repository = scratch.open();
    store::test::store(*repository, info_for("web", 1), "first");
    place = &scratch;
    // Another process tidies and verifies while this one stands still between two steps; not within a write
    // transaction, where it would wait for us.
    testing::at_step = [](const char* step) {
        std::string name = step;
        if (name == "sealed" || name == "before commit" || name == "created" || name == "committed") return;
        ++steps;
        int status = in_child([] {
            testing::at_step = nullptr;
            if (!faults_of(*place->open(OpenMode::write)).empty()) ::_exit(1);
        });
        CHECK(status == 0);
    };
    SnapshotRecord second = store::test::store(*repository, info_for("web", 2), "second");
    testing::at_step = nullptr;
    CHECK(steps == 5);
    CHECK(read_back(*repository, second, "images/pages-1.img") == "second");
    // A removal beside a writer leaves its space to the next one.
    CHECK(faults_of(*repository, false) == "");
    CHECK(faults_of(*scratch.open(OpenMode::write)) == "");
}

TEST_CASE("a tidier that comes between creation and lock of a writer's file does no harm") {
    static const Scratch* place = nullptr;
    static bool done = false;
    Scratch scratch;
    auto repository = scratch.open();
    place = &scratch;
    testing::at_step = [](const char* step) {
        if (std::strcmp(step, "created") != 0 || done) return;
        done = true;
        CHECK(in_child([] { place->open(OpenMode::write); }) == 0);
        CHECK(std::filesystem::is_empty(place->repo() / "tmp"));
    };
    SnapshotRecord record = store::test::store(*repository, info_for("web"), "x");
    testing::at_step = nullptr;
    CHECK(done);
    CHECK(read_back(*repository, record, "images/pages-1.img") == "x");
    // A removal beside a writer leaves its space to the next one.
    CHECK(faults_of(*repository, false) == "");
    CHECK(faults_of(*scratch.open(OpenMode::write)) == "");
}

// Promise: kill -9, a full disk or a refused write at any point loses nothing that was complete and leaves
// nothing that verify complains of.
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <cstdlib>
#include <cstring>
#include <random>

#include "base/error.h"
#include "store/layout.h"
#include "store/testing.h"
#include "tests/store/helpers.h"

using namespace cprewind;
using namespace cprewind::store;
using namespace cprewind::store::test;
namespace fs = std::filesystem;

namespace {

const char* deadly_step = nullptr;

void die_at_step(const char* step) {
    if (std::strcmp(step, deadly_step) == 0) ::kill(::getpid(), SIGKILL);
}

// In the child: dies at `step`.
int killed_at(const char* step, const std::function<void()>& body) {
    return in_child([&] {
        deadly_step = step;
        testing::at_step = die_at_step;
        body();
    });
}

size_t files_in(const fs::path& path) {
    return static_cast<size_t>(std::distance(fs::directory_iterator(path), fs::directory_iterator()));
}

// As a reader sees it: only harmless leftovers; after the next writer: nothing at all.
void check_sound(const Scratch& scratch, size_t snapshots) {
    {
        auto reader = scratch.open(OpenMode::read);
        CHECK(reader->list().size() == snapshots);
        CHECK(faults_of(*reader, false).empty());
    }
    auto writer = scratch.open(OpenMode::write);
    CHECK(faults_of(*writer).empty());
    CHECK(writer->list().size() == snapshots);
    size_t packs = 0;
    for (const auto& entry : fs::directory_iterator(scratch.repo() / "packs"))
        packs += entry.path().extension() == ".pack";
    CHECK(packs == snapshots);
    CHECK(files_in(scratch.repo() / "tmp") == 0);
    for (const SnapshotRecord& record : writer->list()) {
        CHECK(read_back(*writer, record, "images/pages-1.img") == record.info.message);
    }
}

SnapshotInfo with_message(int64_t second, const std::string& content) {
    SnapshotInfo info = info_for("web", second);
    info.message = content;
    return info;
}

}  // namespace

TEST_CASE("a writer killed at any step of the commit leaves the snapshot whole or not at all") {
    for (const char* step : {"created", "before sync", "blocks synced", "sealed", "pending", "moved",
                             "directories synced", "before commit", "committed"}) {
        CAPTURE(step);
        Scratch scratch;
        store::test::store(*scratch.open(), with_message(1, "first"), "first");
        int status = killed_at(step, [&] {
            store::test::store(*scratch.open(OpenMode::write), with_message(2, "second"), "second");
        });
        REQUIRE(WIFSIGNALED(status));
        size_t expected = std::strcmp(step, "committed") == 0 ? 2 : 1;
        bool leftovers = !faults_of(*scratch.open(OpenMode::read)).empty();
        CHECK(leftovers == (expected == 1));
        check_sound(scratch, expected);
        // The number of what never was is free again.
        CHECK(store::test::store(*scratch.open(OpenMode::write), with_message(3, "third"), "third").number ==
              expected + 1);
        check_sound(scratch, expected + 1);
    }
}

TEST_CASE("a remover killed at any step leaves the snapshot gone") {
    for (const char* step : {"removing", "unlinked", "removed"}) {
        CAPTURE(step);
        Scratch scratch;
        auto repository = scratch.open();
        store::test::store(*repository, with_message(1, "first"), "first");
        SnapshotId id = store::test::store(*repository, with_message(2, "second"), "second").id;
        repository.reset();
        REQUIRE(WIFSIGNALED(killed_at(step, [&] { scratch.open(OpenMode::write)->remove(id); })));
        check_sound(scratch, 1);
    }
}

TEST_CASE("a maker killed before the repository exists can be followed by another") {
    Scratch scratch;
    REQUIRE(WIFSIGNALED(killed_at("tables made", [&] { scratch.open(); })));
    CHECK(error_of([&] { scratch.open(OpenMode::read); }) == "not-found");
    scratch.open();
    check_sound(scratch, 0);
}

TEST_CASE("writers killed at random moments lose nothing that was acknowledged") {
    Scratch scratch;
    scratch.open();
    // Shared with the child, which counts there what commit() returned.
    void* shared = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(shared != MAP_FAILED);
    auto* acknowledged = static_cast<volatile int*>(shared);
    const char* given = std::getenv("CPREWIND_KILLS");
    int rounds = given != nullptr ? std::atoi(given) : 40;
    std::mt19937 random(42);
    for (int round = 0; round < rounds; ++round) {
        pid_t child = ::fork();
        if (child == 0) {
            auto repository = scratch.open(OpenMode::write);
            for (int i = 0;; ++i) {
                std::string content = pattern(40'000, static_cast<uint64_t>(round * 100 + i));
                store::test::store(*repository, with_message(round * 1000 + i, content), content);
                *acknowledged = *acknowledged + 1;
                if (i % 3 == 2) {
                    repository->remove(repository->list().front().id);
                    *acknowledged = *acknowledged - 1;
                }
            }
        }
        ::usleep(static_cast<useconds_t>(random() % 150'000));
        ::kill(child, SIGKILL);
        ::waitpid(child, nullptr, 0);
        auto reader = scratch.open(OpenMode::read);
        auto list = reader->list();
        // One more or one less: killed between the deed and the counting.
        int difference = static_cast<int>(list.size()) - *acknowledged;
        REQUIRE((difference >= -1 && difference <= 1));
        *acknowledged = static_cast<int>(list.size());
        REQUIRE(faults_of(*reader, false).empty());
    }
    CHECK(*acknowledged > 0);
    check_sound(scratch, static_cast<size_t>(*acknowledged));
    ::munmap(shared, 4096);
}

TEST_CASE("a full disk is an io error and leaves the repository as it was") {
    Scratch scratch;
    base::make_private_directory(scratch.repo());
    // Needs root, as make check has.
    REQUIRE(::mount("none", scratch.repo().c_str(), "tmpfs", 0, "size=3m,mode=0700") == 0);
    {
        auto repository = scratch.open();
        std::string small = noise(100'000, 1);
        store::test::store(*repository, with_message(1, "first"), "first");
        CHECK(error_of([&] { store::test::store(*repository, with_message(2, ""), noise(4 << 20, 2)); }) ==
              "io");
        CHECK(files_in(scratch.repo() / "tmp") == 0);
        CHECK(repository->list().size() == 1);
        CHECK(faults_of(*repository).empty());
        // Full to within ever fewer bytes, so that each step in turn is the one that fails.
        base::Fd filler = base::open_file(scratch.directory.path() / "repo" / "filler", O_RDWR | O_CREAT);
        size_t failed = 0;
        for (off_t size = 2'900'000; size > 2'000'000; size -= 16384) {
            if (::posix_fallocate(filler.get(), 0, size) != 0) continue;
            REQUIRE(::ftruncate(filler.get(), size) == 0);
            std::string error = error_of([&] {
                store::test::store(*repository, with_message(size, "x"), pattern(200'000, 3) + small);
            });
            CHECK((error == "io" || error == "none"));
            failed += error == "io" ? 1 : 0;
            REQUIRE(::ftruncate(filler.get(), 0) == 0);
            for (const SnapshotRecord& record : repository->list()) {
                if (record.number > 1) repository->remove(record.id);
            }
        }
        CHECK(failed > 0);
        ::unlink((scratch.repo() / "filler").c_str());
        CHECK(repository->list().size() == 1);
        // An undo that itself found no room is left to the next writer.
        CHECK(faults_of(*scratch.open(OpenMode::write)).empty());
    }
    ::umount(scratch.repo().c_str());
}

TEST_CASE("a file size limit is an io error and leaves the repository as it was") {
    Scratch scratch;
    store::test::store(*scratch.open(), with_message(1, "first"), "first");
    int status = in_child([&] {
        ::signal(SIGXFSZ, SIG_IGN);
        struct rlimit limit {
            600'000, 600'000
        };
        ::setrlimit(RLIMIT_FSIZE, &limit);
        auto repository = scratch.open(OpenMode::write);
        if (error_of([&] { store::test::store(*repository, with_message(2, ""), noise(1 << 20, 2)); }) !=
            "io")
            _exit(1);
        if (files_in(scratch.repo() / "tmp") != 0) _exit(2);
    });
    CHECK(status == 0);
    check_sound(scratch, 1);
}

TEST_CASE("a reader that fails in the middle of add leaves nothing, and that writer cannot commit") {
    class Failing : public images::ImageFile {
     public:
        uint64_t size() const override { return 8 << 20; }
        size_t read_at(uint64_t offset, std::span<std::byte> out) const override {
            if (offset > 4 << 20) throw base::Error(base::ErrorKind::io, "the medium failed");
            std::memset(out.data(), 1, out.size());
            return out.size();
        }
    };
    Scratch scratch;
    auto repository = scratch.open();
    CHECK(error_of([&] { repository->begin()->add("f", Failing()); }) == "io");
    CHECK(files_in(scratch.repo() / "tmp") == 0);
    CHECK(faults_of(*repository).empty());
}

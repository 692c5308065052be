// Promise: a bit that flips anywhere in a repository is found by verify, or lies where no restore reads; never does
// it make a restore give something else.
//
// Every byte of packs and of `format`; of the catalog every CPREWIND_FLIP_STRIDE-th (101; 1 takes some minutes).
#include <sys/stat.h>

#include <catch2/catch_test_macros.hpp>
#include <cstdlib>
#include <map>

#include "base/error.h"
#include "tests/store/helpers.h"

using namespace cprewind;
using namespace cprewind::store;
using namespace cprewind::store::test;
namespace fs = std::filesystem;

namespace {

constexpr const char* k_file = "images/pages-1.img";

using Contents = std::map<std::string, std::string>;  // by name of the snapshot

void snap(Repository& repository, const std::string& container, int64_t second, const std::string& content) {
    SnapshotInfo info = info_for(container, second);
    info.parent = repository.head(info.container_id);
    auto writer = repository.begin(info.parent);
    writer->add(k_file, BytesFile(content));
    writer->commit(info, some_rows());
}

// What can be read at all; damaged ones are left out, and what is wrong with them is `faults`' to say.
Contents readable(const Repository& repository) {
    Contents out;
    for (const SnapshotRecord& record : repository.list()) {
        try {
            out[record.name()] = read_back(repository, record, k_file);
        } catch (const base::Error&) {
        }
    }
    return out;
}

enum class Verdict { found, unread, wrong };

Verdict look(const fs::path& repo, const Contents& expected) {
    bool found = false;
    Contents contents;
    try {
        auto repository = open_repository(repo, OpenMode::read);
        found = !faults_of(*repository).empty();
        contents = readable(*repository);
    } catch (const base::Error&) {
        return Verdict::found;
    }
    for (const auto& [name, content] : contents) {
        // A name that the flip made is found, or it is wrong; a content that it made is wrong in any case.
        bool known = expected.contains(name);
        if (known && expected.at(name) != content) return Verdict::wrong;
        if (!known && !found) return Verdict::wrong;
    }
    if (found) return Verdict::found;
    return contents == expected ? Verdict::unread : Verdict::wrong;
}

size_t stride_of_catalog() {
    const char* given = std::getenv("CPREWIND_FLIP_STRIDE");
    return given != nullptr ? std::strtoul(given, nullptr, 10) : 101;
}

}  // namespace

TEST_CASE("a flip of any bit of a repository is found, or lies where no restore reads") {
    Scratch scratch;
    std::string body = pattern(6000, 3);
    {
        auto repository = scratch.open();
        snap(*repository, "web", 1, body + noise(300, 1));
        snap(*repository, "web", 2, "changed" + body + noise(300, 1));
        snap(*repository, "web", 3, body + noise(300, 4));
        snap(*repository, "api", 4, body);
        repository->remove(repository->list("web").front().id);
    }
    Contents expected = readable(*scratch.open(OpenMode::read));
    REQUIRE(expected.size() == 3);
    REQUIRE(look(scratch.repo(), expected) == Verdict::unread);

    for (const auto& entry : fs::recursive_directory_iterator(scratch.repo())) {
        if (!entry.is_regular_file()) continue;
        std::string name = entry.path().filename();
        if (name.ends_with("-shm") || name.ends_with("-wal")) continue;
        bool catalog = name == "catalog.db";
        uint64_t size = entry.file_size(), unread = 0, tried = 0;
        for (uint64_t offset = 0; offset < size; offset += catalog ? stride_of_catalog() : 1) {
            unsigned bit = static_cast<unsigned>(offset % 8);
            flip_bit(entry.path(), offset, bit);
            Verdict verdict = look(scratch.repo(), expected);
            flip_bit(entry.path(), offset, bit);
            INFO(name << ", byte " << offset << " of " << size);
            CHECK(verdict != Verdict::wrong);
            unread += verdict == Verdict::unread ? 1 : 0;
            ++tried;
        }
        INFO(name << ": " << unread << " of " << tried << " flips where nothing reads");
        // `format`: the repository's id, which nobody compares. The catalog: what is free in its pages, tags, heads and
        // counters. A kept pack: what is a hole now. A pack: nothing at all.
        if (entry.path().extension() == ".pack") CHECK(unread == 0);
        if (name == "format") CHECK(unread <= 32);
    }
    CHECK(look(scratch.repo(), expected) == Verdict::unread);
}

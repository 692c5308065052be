// Comparisons of all fixtures with all: what holds whatever the evidence.
#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <filesystem>
#include <memory>
#include <set>

#include "images/directory_source.h"
#include "inspect/diff.h"
#include "inspect/diff_strings.h"

using namespace cprewind::inspect;
namespace images = cprewind::images;

namespace {

struct Loaded {
    explicit Loaded(const std::filesystem::path& path)
        : name(path.filename()), source(path), checkpoint(images::load_checkpoint(source)) {}
    std::string name;
    images::DirectorySource source;
    images::Checkpoint checkpoint;
    Moment moment() const { return {checkpoint, source}; }
};

std::vector<std::unique_ptr<Loaded>> all_fixtures() {
    std::vector<std::unique_ptr<Loaded>> list;
    for (const char* parent : {"", "states"}) {
        std::filesystem::path directory = std::filesystem::path(CPREWIND_FIXTURES) / parent;
        std::set<std::filesystem::path> paths;
        for (const auto& entry : std::filesystem::directory_iterator(directory)) {
            if (std::filesystem::exists(entry.path() / "inventory.img")) paths.insert(entry.path());
        }
        for (const auto& path : paths) list.push_back(std::make_unique<Loaded>(path));
    }
    return list;
}

size_t count(const MemoryDiff& diff, MappingFate fate) {
    size_t number = 0;
    for (const ProcessMemoryDiff& process : diff.processes) {
        for (const MappingChange& change : process.mappings) number += change.fate == fate;
    }
    return number;
}

}  // namespace

TEST_CASE("every fixture equals itself, and the pages that differ are visited exactly") {
    auto fixtures = all_fixtures();
    REQUIRE(fixtures.size() > 30);
    for (const auto& one : fixtures) {
        INFO(one->name);
        CHECK(diff_processes(one->moment(), one->moment()).same());
        CHECK(diff_fds(one->moment(), one->moment()).same());
        CHECK(diff_system(one->moment(), one->moment(), nullptr, nullptr).same());
        CHECK(diff_threads(one->checkpoint, one->checkpoint).moved == 0);
        MemoryDiffOptions options;
        options.visit = [](const PagePair&) { FAIL("a page differs from itself"); };
        MemoryDiff memory = diff_memory(one->moment(), one->moment(), options);
        CHECK(memory.total.different() == 0);
        for (const ProcessMemoryDiff& process : memory.processes) CHECK(process.mappings.empty());
    }
}

TEST_CASE("diff is antisymmetric: what came one way went the other way") {
    auto fixtures = all_fixtures();
    for (const auto& a : fixtures) {
        for (const auto& b : fixtures) {
            if (a->name >= b->name) continue;
            INFO(a->name << " and " << b->name);
            auto there = diff_processes(a->moment(), b->moment()),
                 back = diff_processes(b->moment(), a->moment());
            CHECK(there.unchanged == back.unchanged);
            CHECK(there.changes.size() == back.changes.size());
            FdDiff fds = diff_fds(a->moment(), b->moment()), fds_back = diff_fds(b->moment(), a->moment());
            CHECK(fds.unchanged == fds_back.unchanged);
            auto count_fds = [](const std::vector<FdChange>& changes, FdFate fate) {
                return std::count_if(changes.begin(), changes.end(),
                                     [&](const FdChange& change) { return change.fate == fate; });
            };
            for (auto list : {&FdDiff::changes, &FdDiff::with_processes}) {
                CHECK(count_fds(fds.*list, FdFate::opened) == count_fds(fds_back.*list, FdFate::closed));
                CHECK(count_fds(fds.*list, FdFate::closed) == count_fds(fds_back.*list, FdFate::opened));
                CHECK(count_fds(fds.*list, FdFate::changed) == count_fds(fds_back.*list, FdFate::changed));
            }
            CHECK(diff_system(a->moment(), b->moment(), nullptr, nullptr).changes.size() ==
                  diff_system(b->moment(), a->moment(), nullptr, nullptr).changes.size());

            uint64_t visited = 0;
            MemoryDiffOptions options;
            options.visit = [&](const PagePair& page) { visited += page.bytes / 4096; };
            MemoryDiff forth = diff_memory(a->moment(), b->moment(), options);
            MemoryDiff reverse = diff_memory(b->moment(), a->moment());
            CHECK(visited == forth.total.different());
            CHECK(forth.total.equal == reverse.total.equal);
            CHECK(forth.total.changed == reverse.total.changed);
            CHECK(forth.total.added == reverse.total.gone + reverse.total.zeroed);
            CHECK(reverse.total.added == forth.total.gone + forth.total.zeroed);
            CHECK(forth.total.unknown == reverse.total.unknown);
            CHECK(count(forth, MappingFate::grown) == count(reverse, MappingFate::shrunk));
            CHECK(count(forth, MappingFate::added) == count(reverse, MappingFate::removed));
            CHECK(count(forth, MappingFate::removed) == count(reverse, MappingFate::added));
            CHECK(count(forth, MappingFate::moved) == count(reverse, MappingFate::moved));
            CHECK(count(forth, MappingFate::protection) == count(reverse, MappingFate::protection));
            CHECK(count(forth, MappingFate::replaced) == count(reverse, MappingFate::replaced));
        }
    }
}

TEST_CASE("strings that appeared and disappeared are those in the changed pages") {
    Loaded before(std::filesystem::path(CPREWIND_FIXTURES) / "kitchen");
    Loaded after(std::filesystem::path(CPREWIND_FIXTURES) / "kitchen-later");
    StringDiff strings(6);
    MemoryDiffOptions options;
    options.visit = [&](const PagePair& page) { strings.add(page); };
    diff_memory(before.moment(), after.moment(), options);
    std::set<std::string> come, gone;
    for (const OwnerStrings& owner : strings.finish()) {
        for (const StringChange& change : owner.changes) (change.appeared ? come : gone).insert(change.text);
    }
    CHECK(come.contains("page 3 has changed"));
    CHECK(come.contains("a new mapping"));
    CHECK(gone.contains("page 3 of the pattern"));
    CHECK(gone.contains("page 5 of the pattern"));
    CHECK_FALSE(gone.contains("page 4 of the pattern"));
}

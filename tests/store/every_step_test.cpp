// Promise: at whichever single call the process is killed, the call fails, or the power goes, all that was complete
// stays whole, what was acknowledged is there, and nothing is left that the next writer does not tidy away.
//
// Not samples: each operation runs once to count its steps, then once per step and kind of fault.
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <cstdlib>
#include <set>

#include "base/error.h"
#include "store/layout.h"
#include "store/rebuild.h"
#include "tests/store/faults.h"
#include "tests/store/helpers.h"

using namespace cprewind;
using namespace cprewind::store;
using namespace cprewind::store::test;
namespace fs = std::filesystem;

namespace {

// Memory is quick to sync; what is durable is our model's to say (faults.h), not the file system's.
fs::path quick_directory() {
    return fs::is_directory("/dev/shm") ? fs::path("/dev/shm") : fs::temp_directory_path();
}

// What snapshot `key` holds: a body that all share, changed in a place of its own, and something only it has.
std::string content_of(const std::string& key) {
    std::string content = pattern(50'000, 7);
    size_t seed = 0;
    for (char c : key) seed = seed * 31 + static_cast<unsigned char>(c);
    content.replace(seed % 40'000, 8, "changed!");
    return content + noise(9'000, seed);
}

SnapshotRecord snap(Repository& repository, const std::string& container, const std::string& key,
                    int64_t second) {
    SnapshotInfo info = info_for(container, second);
    info.message = key;
    std::string id = info.container_id;
    info.parent = repository.head(id);
    auto writer = repository.begin(info.parent);
    writer->add("images/pages-1.img", BytesFile(content_of(key)));
    return writer->commit(info, some_rows());
}

std::set<std::string> keys_in(const Repository& repository) {
    std::set<std::string> keys;
    for (const SnapshotRecord& record : repository.list()) keys.insert(record.info.message);
    return keys;
}

void remove_keys(Repository& repository, const std::set<std::string>& keys) {
    std::vector<SnapshotId> ids;
    for (const SnapshotRecord& record : repository.list()) {
        if (keys.contains(record.info.message)) ids.push_back(record.id);
    }
    repository.remove(ids);
}

struct Operation {
    std::string name;
    std::function<void(const fs::path& repo)> run;
    std::set<std::string> adds = {};
    std::set<std::string> removes = {};
    // What makes the repository that it runs on; by default web's two snapshots and api's one.
    std::function<void(const fs::path& repo)> prepare = {};
    std::set<std::string> before = {"web one", "web two", "api one"};
};

void prepare_usual(const fs::path& repo) {
    auto repository = open_repository(repo, OpenMode::create);
    snap(*repository, "web", "web one", 1);
    snap(*repository, "web", "web two", 2);
    snap(*repository, "api", "api one", 3);
}

// "web one" was removed while "web two" drew from it, and stored once more: it has a pack and a kept one.
void prepare_once_more(const fs::path& repo) {
    auto repository = open_repository(repo, OpenMode::create);
    snap(*repository, "web", "web one", 1);
    SnapshotId id = repository->list().front().id;
    snap(*repository, "web", "web two", 2);
    remove_keys(*repository, {"web one"});
    SnapshotInfo info = info_for("web", 1);
    info.message = "web one";
    auto writer = repository->begin({});
    writer->add("images/pages-1.img", BytesFile(content_of("web one")));
    REQUIRE(writer->commit(info, some_rows()).id == id);
    writer.reset();
    REQUIRE((fs::exists(Layout{repo}.kept_pack(id))));
    snap(*repository, "api", "api one", 3);
}

// Of one that died early and of one that died as late as it could without having committed.
void prepare_leftovers(const fs::path& repo) {
    prepare_usual(repo);
    auto take = [&] { snap(*open_repository(repo, OpenMode::write), "web", "never", 9); };
    fs::path before = repo.string() + ".before";
    fs::copy(repo, before, fs::copy_options::recursive);
    size_t at = run_with_fault(repo, FaultKind::none, 0, 0, take).steps;
    do {
        fs::remove_all(repo);
        fs::copy(before, repo, fs::copy_options::recursive);
        run_with_fault(repo, FaultKind::kill, --at, 0, take);
    } while (keys_in(*open_repository(repo, OpenMode::read)).contains("never"));
    fs::remove_all(before);
    base::replace_file(repo / "tmp" / "dead.pack", "cprw");
}

const std::vector<Operation>& operations() {
    static const std::vector<Operation> all = {
        {"snap with a parent",
         [](const fs::path& repo) { snap(*open_repository(repo, OpenMode::write), "web", "web three", 4); },
         {"web three"}},
        {"first snap of a container",
         [](const fs::path& repo) { snap(*open_repository(repo, OpenMode::write), "db", "db one", 4); },
         {"db one"}},
        {"first snap of all",
         [](const fs::path& repo) { snap(*open_repository(repo, OpenMode::create), "web", "first", 4); },
         {"first"},
         {},
         [](const fs::path& repo) { base::make_private_directory(repo); },
         {}},
        {"rm of one that others draw from",
         [](const fs::path& repo) { remove_keys(*open_repository(repo, OpenMode::write), {"web one"}); },
         {},
         {"web one"}},
        {"rm of one that nobody draws from",
         [](const fs::path& repo) { remove_keys(*open_repository(repo, OpenMode::write), {"web two"}); },
         {},
         {"web two"}},
        {"rm of several",
         [](const fs::path& repo) {
             remove_keys(*open_repository(repo, OpenMode::write), {"web one", "web two", "api one"});
         },
         {},
         {"web one", "web two", "api one"}},
        {"rm of what held a kept pack",
         [](const fs::path& repo) { remove_keys(*open_repository(repo, OpenMode::write), {"web two"}); },
         {},
         {"web two"},
         [](const fs::path& repo) {
             prepare_usual(repo);
             remove_keys(*open_repository(repo, OpenMode::write), {"web one"});
         },
         {"web two", "api one"}},
        {"rm beside one that was stored once more",
         [](const fs::path& repo) { remove_keys(*open_repository(repo, OpenMode::write), {"api one"}); },
         {},
         {"api one"},
         prepare_once_more},
        {"tag",
         [](const fs::path& repo) {
             auto repository = open_repository(repo, OpenMode::write);
             repository->tag(repository->list().front().id, "golden");
         }},
        {"tidying after two dead writers",
         [](const fs::path& repo) { open_repository(repo, OpenMode::write); },
         {},
         {},
         prepare_leftovers},
    };
    return all;
}

struct Bench {
    base::TemporaryDirectory directory{quick_directory(), "cprewind-steps-"};
    fs::path prepared = directory.path() / "prepared";
    fs::path repo = directory.path() / "repo";

    void start_over() const {
        fs::remove_all(repo);
        fs::copy(prepared, repo, fs::copy_options::recursive);
        ::chmod(repo.c_str(), 0700);
    }
};

// What any user may rely on after `outcome`; "" when all holds.
std::string wrong_after(const Operation& operation, const fs::path& repo, const FaultOutcome& outcome) {
    std::string wrong;
    auto complain = [&](const std::string& what) { wrong += what + "; "; };
    if (outcome.died) complain("the process crashed");

    auto look = [&](const Repository& repository, const char* who) {
        std::set<std::string> keys = keys_in(repository);
        for (const std::string& key : operation.before) {
            bool may_go = operation.removes.contains(key);
            if (!may_go && !keys.contains(key)) complain(std::string(who) + " misses " + key);
            if (may_go && outcome.acknowledged() && keys.contains(key)) complain(key + " came back");
        }
        for (const std::string& key : operation.adds) {
            if (outcome.acknowledged() && !keys.contains(key))
                complain(key + " was acknowledged and is lost");
        }
        for (const SnapshotRecord& record : repository.list()) {
            const std::string& key = record.info.message;
            if (!operation.before.contains(key) && !operation.adds.contains(key)) complain("strange: " + key);
            if (read_back(repository, record, "images/pages-1.img") != content_of(key))
                complain(key + " reads otherwise");
        }
    };
    try {
        auto reader = open_repository(repo, OpenMode::read);
        look(*reader, "a reader");
        std::string faults = faults_of(*reader, false);
        if (!faults.empty()) complain("a reader sees " + faults);
    } catch (const base::Error& error) {
        bool none_yet =
            error.kind() == base::ErrorKind::not_found && operation.before.empty() && !outcome.acknowledged();
        if (!none_yet) complain("a reader gets: " + error.message());
    }
    try {
        auto writer = open_repository(repo, OpenMode::create);
        look(*writer, "a writer");
        snap(*writer, "later", "later", 99);
        std::string faults = faults_of(*writer);
        if (!faults.empty()) complain("after a writer: " + faults);
    } catch (const base::Error& error) {
        complain("a writer gets: " + error.message());
    }
    return wrong;
}

// Every `stride`-th step only, in quick runs of builds that are slow.
size_t stride() {
    const char* given = std::getenv("CPREWIND_STEP_STRIDE");
    return given != nullptr ? std::strtoul(given, nullptr, 10) : 1;
}

void check_every_step(const Operation& operation, FaultKind kind, int seeds = 1) {
    Bench bench;
    (operation.prepare ? operation.prepare : prepare_usual)(bench.prepared);
    auto body = [&] { operation.run(bench.repo); };
    bench.start_over();
    FaultOutcome whole = run_with_fault(bench.repo, FaultKind::none, 0, 0, body);
    REQUIRE(whole.acknowledged());
    REQUIRE(whole.steps > 5);
    CHECK(wrong_after(operation, bench.repo, whole) == "");

    size_t acknowledged = 0;
    for (size_t at = 1; at <= whole.steps; at += stride()) {
        for (int seed = 0; seed < seeds; ++seed) {
            bench.start_over();
            FaultOutcome outcome = run_with_fault(bench.repo, kind, at, static_cast<uint64_t>(seed), body);
            INFO(operation.name << ", " << name_of(kind) << " at step " << at << " of " << whole.steps << ", "
                                << outcome.last << ", seed " << seed);
            std::string wrong = wrong_after(operation, bench.repo, outcome);
            CHECK(wrong == "");
            acknowledged += outcome.acknowledged() ? 1 : 0;
        }
    }
    // A fault that strikes nothing would prove nothing.
    CHECK(acknowledged < whole.steps * static_cast<size_t>(seeds));
}

}  // namespace

TEST_CASE("killed at each step, every operation happened whole or not at all") {
    for (const Operation& operation : operations()) check_every_step(operation, FaultKind::kill);
}

TEST_CASE("each step failing once, every operation happened whole or not at all") {
    for (const Operation& operation : operations()) check_every_step(operation, FaultKind::fail);
}

TEST_CASE("each step failing and all after it, every operation happened whole or not at all") {
    for (const Operation& operation : operations()) check_every_step(operation, FaultKind::fail_on);
}

TEST_CASE("with all that was not synced lost at each step, every operation happened whole or not at all") {
    for (const Operation& operation : operations()) check_every_step(operation, FaultKind::power);
}

TEST_CASE("with some that was not synced lost at each step, every operation happened whole or not at all") {
    for (const Operation& operation : operations()) check_every_step(operation, FaultKind::power_mixed, 3);
}

TEST_CASE("a rebuild that was killed, failed or lost power at any step can be made again") {
    for (FaultKind kind : {FaultKind::kill, FaultKind::fail, FaultKind::power, FaultKind::power_mixed}) {
        Bench bench;
        prepare_usual(bench.prepared);
        auto body = [&] { rebuild_catalog(bench.repo); };
        bench.start_over();
        size_t steps = run_with_fault(bench.repo, FaultKind::none, 0, 0, body).steps;
        for (size_t at = 1; at <= steps; at += stride()) {
            bench.start_over();
            FaultOutcome outcome = run_with_fault(bench.repo, kind, at, 1, body);
            INFO(name_of(kind) << " at step " << at << " of " << steps << ", " << outcome.last);
            // Either the repository is whole, or its catalog is said to be missing.
            std::string error = error_of([&] {
                auto reader = open_repository(bench.repo, OpenMode::read);
                CHECK(keys_in(*reader).size() == 3);
                CHECK(faults_of(*reader, false) == "");
            });
            CHECK((error == "none" || error == "damaged"));
            rebuild_catalog(bench.repo);
            auto writer = open_repository(bench.repo, OpenMode::write);
            CHECK(keys_in(*writer).size() == 3);
            CHECK(faults_of(*writer).empty());
        }
    }
}

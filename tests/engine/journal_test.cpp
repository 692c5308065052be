#include "engine/journal.h"

#include <catch2/catch_test_macros.hpp>

#include "base/error.h"
#include "base/fd.h"

using namespace cprewind::engine;
using cprewind::base::Error;
using cprewind::base::TemporaryDirectory;
namespace fs = std::filesystem;

namespace {

JournalEntry entry_in(const fs::path& repository) {
    JournalEntry entry;
    // No container of this host has this id: the link below /run must not meet a real one.
    entry.container_id = std::string(60, 'd') + "0001";
    entry.container_name = "web";
    entry.repository = repository;
    entry.init_pid = 42;
    entry.target_id = "t";
    entry.target_name = "web@1";
    entry.safety_id = "s";
    entry.safety_name = "web@2";
    entry.before = "/run/x";
    entry.layer_directory = "/layer with blanks";
    return entry;
}

}  // namespace

TEST_CASE("a journal says after its writer's death what was being done") {
    TemporaryDirectory repository("/tmp", "cprewind-test-");
    std::string id = entry_in(repository.path()).container_id;
    {
        Journal journal(entry_in(repository.path()));
        journal.step(Step::layer);
    }  // not closed: as if we had died
    auto found = find_rewind_journal(id, repository.path());
    REQUIRE(found);
    CHECK(found->step == Step::layer);
    CHECK(found->container_name == "web");
    CHECK(found->init_pid == 42);
    CHECK(found->safety_name == "web@2");
    CHECK(found->layer_directory == "/layer with blanks");
    CHECK(found->boot_id == boot_id());
    CHECK(containers_with_journals(repository.path()) == std::vector<std::string>{id});

    Journal::resume(*found).close();
    CHECK_FALSE(find_rewind_journal(id, repository.path()));
    CHECK(containers_with_journals(repository.path()).empty());
}

TEST_CASE("a command with another repository finds the journal, too") {
    TemporaryDirectory repository("/tmp", "cprewind-test-");
    TemporaryDirectory other("/tmp", "cprewind-test-");
    Journal journal(entry_in(repository.path()));
    auto found = find_rewind_journal(journal.entry().container_id, other.path());
    REQUIRE(found);
    CHECK(found->repository == repository.path());
    journal.close();
}

TEST_CASE("a journal that cannot be read is an error with a way out, not an absent one") {
    TemporaryDirectory repository("/tmp", "cprewind-test-");
    std::string id = entry_in(repository.path()).container_id;
    fs::path path = rewind_journal_path(id, repository.path());
    fs::create_directories(path.parent_path());
    for (const char* text : {"", "{", "[]", "{\"version\": 2}", "{\"version\": 1, \"step\": \"dance\"}",
                             "{\"version\": 1, \"step\": \"kill\"}"}) {
        cprewind::base::replace_file(path, text);
        CHECK_THROWS_AS(find_rewind_journal(id, repository.path()), Error);
    }
}

TEST_CASE("a step that cannot be written stops the way there, but not the way back") {
    TemporaryDirectory repository("/tmp", "cprewind-test-");
    Journal journal(entry_in(repository.path()));
    fs::remove_all(repository.path() / "journal");
    CHECK_THROWS_AS(journal.step(Step::start), Error);
    CHECK(journal.entry().step == Step::kill);
    journal.step_quietly(Step::back);
    CHECK(journal.entry().step == Step::kill);
    journal.close();
}

// Opening, numbering, heads, tags, removal, permissions, rebuilding: the repository in the hands of one user.
#include "store/repository.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <catch2/catch_test_macros.hpp>

#include "base/error.h"
#include "store/layout.h"
#include "store/rebuild.h"
#include "store/sqlite.h"
#include "tests/store/helpers.h"

using namespace cprewind;
using namespace cprewind::store;
using namespace cprewind::store::test;
namespace fs = std::filesystem;

TEST_CASE("only create makes a repository, and never in a directory of somebody else") {
    Scratch scratch;
    CHECK(error_of([&] { scratch.open(OpenMode::read); }) == "not-found");
    CHECK(error_of([&] { scratch.open(OpenMode::write); }) == "not-found");
    CHECK(!fs::exists(scratch.repo()));
    base::make_private_directory(scratch.repo());
    base::replace_file(scratch.repo() / "letter.txt", "dear");
    CHECK(error_of([&] { scratch.open(); }) == "failed");
    fs::remove(scratch.repo() / "letter.txt");
    scratch.open();
    scratch.open();
    CHECK(faults_of(*scratch.open(OpenMode::read)).empty());
}

TEST_CASE("a record comes back as it was stored, through a new connection") {
    Scratch scratch;
    SnapshotInfo info = info_for("web");
    info.tags = {"good", "b", "good"};
    info.parent = std::string(64, 'e');
    info.kind = SnapshotKind::safety;
    info.message = "line\nand \xff";
    SnapshotRecord record = store::test::store(*scratch.open(), info, "content");
    auto repository = scratch.open(OpenMode::read);
    auto list = repository->list();
    REQUIRE(list.size() == 1);
    CHECK(list[0].id == record.id);
    CHECK(list[0].name() == "web@1");
    CHECK(list[0].info.tags == std::vector<std::string>{"b", "good"});
    CHECK(list[0].info.parent == info.parent);
    CHECK(list[0].info.kind == SnapshotKind::safety);
    CHECK(list[0].info.message == info.message);
    CHECK(list[0].info.taken_at == info.taken_at);
    CHECK(list[0].info.stall == info.stall);
    CHECK(list[0].raw_bytes == 9);
    CHECK(list[0].stored_bytes == fs::file_size(Layout{scratch.repo()}.pack(record.id)));
    CHECK(repository->head(info.container_id) == record.id);
    CHECK(repository->resolve("good", base::WallTime{}).id == record.id);
    CHECK(faults_of(*repository).empty());
}

TEST_CASE("numbers count per container and are never used twice") {
    Scratch scratch;
    auto repository = scratch.open();
    CHECK(store::test::store(*repository, info_for("web", 1), "a").number == 1);
    CHECK(store::test::store(*repository, info_for("web", 2), "b").number == 2);
    CHECK(store::test::store(*repository, info_for("db", 3), "c").number == 1);
    for (const SnapshotRecord& record : repository->list("web")) repository->remove(record.id);
    CHECK(repository->list("web").empty());
    repository = scratch.open(OpenMode::write);
    CHECK(store::test::store(*repository, info_for("web", 4), "d").number == 3);
    // A snapshot that never came to be uses no number.
    repository->begin()->add("x", "y");
    CHECK(store::test::store(*repository, info_for("web", 5), "e").number == 4);
}

TEST_CASE("list gives all, or one container by name or by the start of its id, oldest first") {
    Scratch scratch;
    auto repository = scratch.open();
    store::test::store(*repository, info_for("web", 30), "a");
    store::test::store(*repository, info_for("web", 10), "b");
    store::test::store(*repository, info_for("db", 20), "c");
    auto all = repository->list();
    REQUIRE(all.size() == 3);
    CHECK(all[0].name() == "web@2");
    CHECK(all[1].name() == "db@1");
    CHECK(repository->list("web").size() == 2);
    CHECK(repository->list("web0").size() == 2);
    CHECK(repository->list("nobody").empty());
}

TEST_CASE("removing gives the space back, moves heads to the parent and leaves nothing") {
    Scratch scratch;
    auto repository = scratch.open();
    SnapshotInfo info = info_for("web", 1);
    SnapshotRecord first = store::test::store(*repository, info, "a");
    info = info_for("web", 2);
    info.parent = first.id;
    info.tags = {"t"};
    SnapshotRecord second = store::test::store(*repository, info, "b");
    CHECK(repository->head(info.container_id) == second.id);
    repository->remove(second.id);
    CHECK(repository->head(info.container_id) == first.id);
    CHECK(!fs::exists(Layout{scratch.repo()}.pack(second.id)));
    CHECK(error_of([&] { repository->resolve("t", {}); }) == "not-found");
    CHECK(error_of([&] { repository->open(second); }) == "not-found");
    CHECK(error_of([&] { repository->remove(second.id); }) == "not-found");
    CHECK(error_of([&] { repository->verify(second.id); }) == "not-found");
    CHECK(faults_of(*repository).empty());
    repository->remove(first.id);
    CHECK(!repository->head(info.container_id));
    Database catalog(repository->catalog_path(), Database::Mode::read);
    for (const char* table :
         {"snapshots", "tags", "heads", "processes", "fds", "mappings", "files", "pending"}) {
        CAPTURE(table);
        CHECK(catalog.integer(std::string("SELECT count(*) FROM ") + table) == 0);
    }
}

TEST_CASE("heads move only to what exists, tags move from one snapshot to another") {
    Scratch scratch;
    auto repository = scratch.open();
    SnapshotRecord first = store::test::store(*repository, info_for("web", 1), "a");
    SnapshotRecord second = store::test::store(*repository, info_for("web", 2), "b");
    repository->set_head("x", first.id);
    CHECK(repository->head("x") == first.id);
    CHECK(!repository->head("y"));
    std::string nobody(64, 'f');
    CHECK(error_of([&] { repository->set_head("x", nobody); }) == "not-found");
    repository->tag(first.id, "good");
    repository->tag(second.id, "good");
    CHECK(repository->resolve("good", {}).id == second.id);
    CHECK(error_of([&] { repository->tag(nobody, "good"); }) == "not-found");
    CHECK(error_of([&] { repository->tag(first.id, "a b"); }) == "usage");
    SnapshotInfo bad = info_for("web", 3);
    bad.tags = {"a@b"};
    CHECK(error_of([&] { store::test::store(*repository, bad, "c"); }) == "usage");
    CHECK(faults_of(*repository).empty());
}

TEST_CASE("everything is 0600 and 0700 whatever the umask, and verify complains of anything wider") {
    Scratch scratch;
    mode_t before = ::umask(0);
    auto repository = scratch.open();
    SnapshotRecord record = store::test::store(*repository, info_for("web"), "a");
    ::umask(before);
    size_t seen = 0;
    for (const auto& entry : fs::recursive_directory_iterator(scratch.repo())) {
        struct stat st {};
        REQUIRE(::lstat(entry.path().c_str(), &st) == 0);
        CAPTURE(entry.path().string());
        CHECK((st.st_mode & 0777) == (entry.is_directory() ? 0700u : 0600u));
        ++seen;
    }
    CHECK(seen >= 5);
    ::chmod(Layout{scratch.repo()}.pack(record.id).c_str(), 0640);
    ::chmod(scratch.repo().c_str(), 0755);
    auto faults = repository->verify({}).faults;
    REQUIRE(faults.size() == 2);
    CHECK(faults[0].message.find("wider than 0700") != std::string::npos);
    CHECK(faults[1].message.find("wider than 0600") != std::string::npos);
    CHECK(!faults[0].harmless);
}

TEST_CASE("a newer repository, catalog or pack is refused with what was found and what is understood") {
    Scratch scratch;
    SnapshotRecord record = store::test::store(*scratch.open(), info_for("web"), "a");
    Layout layout{scratch.repo()};
    std::string format = base::read_file(layout.format());
    base::replace_file(layout.format(), "cprewind repository\nversion 7\nwho knows\n");
    for (OpenMode mode : {OpenMode::read, OpenMode::write, OpenMode::create}) {
        try {
            scratch.open(mode);
            FAIL("opened");
        } catch (const base::Error& error) {
            CHECK(error.kind() == base::ErrorKind::unsupported);
            CHECK(error.message().find("has format 7; this cprewind understands formats up to 2") !=
                  std::string::npos);
            CHECK(!error.hint().empty());
        }
    }
    base::replace_file(layout.format(), format);
    // The version of the pack's header.
    {
        base::Fd pack = base::open_file(layout.pack(record.id), O_RDWR);
        std::byte newer{3};
        base::pwrite_full(pack.get(), std::span(&newer, 1), 8, "test");
    }
    CHECK(error_of([&] { scratch.open(OpenMode::read)->open(record); }) == "unsupported");
    Database(layout.catalog(), Database::Mode::write).execute("PRAGMA user_version = 9");
    CHECK(error_of([&] { scratch.open(OpenMode::read); }) == "unsupported");
}

TEST_CASE("a format file that is not one is damage") {
    Scratch scratch;
    scratch.open();
    std::string whole = base::read_file(Layout{scratch.repo()}.format());
    for (const std::string& text :
         {std::string(), std::string("x"), whole + "x", whole.substr(0, whole.size() - 1),
          std::string("cprewind repository\nversion 0\nid 00\n")}) {
        base::replace_file(Layout{scratch.repo()}.format(), text);
        CHECK(error_of([&] { scratch.open(OpenMode::read); }) == "damaged");
    }
}

TEST_CASE("the catalog can be made again from the packs") {
    Scratch scratch;
    std::vector<SnapshotRecord> before;
    {
        auto repository = scratch.open();
        for (int i = 1; i <= 3; ++i) {
            SnapshotInfo info = info_for("web", i);
            info.tags = {"tag" + std::to_string(i)};
            store::test::store(*repository, info, std::to_string(i));
        }
        repository->remove(repository->resolve("web@2", {}).id);
        before = repository->list();
    }
    fs::remove(Layout{scratch.repo()}.catalog());
    CHECK(error_of([&] { scratch.open(OpenMode::read); }) == "damaged");
    CHECK(error_of([&] { scratch.open(OpenMode::create); }) == "damaged");
    base::replace_file(Layout{scratch.repo()}.pack(std::string(64, 'a')), "no pack");
    RebuildReport report = rebuild_catalog(scratch.repo());
    CHECK(report.snapshots == 2);
    CHECK(report.unreadable.size() == 1);
    fs::remove(Layout{scratch.repo()}.pack(std::string(64, 'a')));
    auto repository = scratch.open(OpenMode::write);
    auto after = repository->list();
    REQUIRE(after.size() == before.size());
    for (size_t i = 0; i < after.size(); ++i) {
        CHECK(after[i].id == before[i].id);
        CHECK(after[i].number == before[i].number);
        CHECK(after[i].info.tags == before[i].info.tags);
        CHECK(after[i].raw_bytes == before[i].raw_bytes);
        CHECK(after[i].stored_bytes == before[i].stored_bytes);
    }
    CHECK(repository->head(before[0].info.container_id) == before.back().id);
    CHECK(faults_of(*repository).empty());
    CHECK(store::test::store(*repository, info_for("web", 9), "9").number == 4);
}

TEST_CASE("SQLite's errors become ours with a kind and its text") {
    Scratch scratch;
    auto path = scratch.directory.path() / "x.db";
    CHECK(error_of([&] { Database(path, Database::Mode::write); }) == "permission");
    base::replace_file(path, std::string(4096, 'x'));
    CHECK(error_of([&] { Database(path, Database::Mode::write); }) == "damaged");
    base::replace_file(path, "");
    Database database(path, Database::Mode::write);
    CHECK(error_of([&] { database.execute("nonsense"); }) == "failed");
    CHECK(error_of([&] { Database(path, Database::Mode::read).execute("CREATE TABLE t(a)"); }) ==
          "permission");
    database.execute("CREATE TABLE t(a)");
    {
        Transaction rolled_back(database, Transaction::Kind::write);
        database.execute("INSERT INTO t VALUES (1)");
    }
    CHECK(database.integer("SELECT count(*) FROM t") == 0);
}

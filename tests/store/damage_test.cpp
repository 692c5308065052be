// Damage: whatever happens to a stored byte, it is found, named, and contained.
#include <fcntl.h>
#include <unistd.h>

#include <fmt/format.h>

#include <catch2/catch_test_macros.hpp>
#include <random>

#include "base/error.h"
#include "base/fd.h"
#include "store/block.h"
#include "store/layout.h"
#include "store/pack_format.h"
#include "store/pack_reader.h"
#include "store/page_pack.h"
#include "store/rebuild.h"
#include "store/sqlite.h"
#include "tests/store/helpers.h"

using namespace cprewind;
using namespace cprewind::store;
using namespace cprewind::store::test;
namespace fs = std::filesystem;

namespace {

struct Small : Scratch {
    std::unique_ptr<Repository> repository = open();
    SnapshotRecord record = store::test::store(*repository, info_for("web"), pattern(900, 1) + noise(200, 2));
    fs::path pack = Layout{repo()}.pack(record.id);
};

}  // namespace

TEST_CASE("a flip of any bit of a pack is found by verify") {
    Small small;
    uint64_t size = fs::file_size(small.pack);
    REQUIRE(size < 8192);
    std::vector<uint64_t> unnoticed;
    for (uint64_t offset = 0; offset < size; ++offset) {
        unsigned bit = static_cast<unsigned>(offset % 8);
        flip_bit(small.pack, offset, bit);
        VerifyReport report = small.repository->verify(small.record.id);
        if (report.faults.empty() || report.faults[0].snapshot != "web@1") unnoticed.push_back(offset);
        flip_bit(small.pack, offset, bit);
    }
    CHECK(unnoticed == std::vector<uint64_t>());
    CHECK(faults_of(*small.repository).empty());
}

TEST_CASE("reading a flipped block throws and names snapshot and file, other files stay readable") {
    Small small;
    {
        PagePack pack(small.pack, small.record.id, "web@1");
        const PageIndex& index = pack.index();
        PageRef first = index.find("images/pages-1.img")->runs[0].first;
        flip_bit(small.pack, index.groups[index.group_of(first.slot)].block.offset + 5, 3);
    }
    try {
        read_back(*small.repository, small.record, "images/pages-1.img");
        FAIL("read");
    } catch (const base::Error& error) {
        CHECK(error.kind() == base::ErrorKind::damaged);
        CHECK(error.message().find("web@1") != std::string::npos);
        CHECK(error.message().find("images/pages-1.img") != std::string::npos);
    }
    CHECK(read_back(*small.repository, small.record, "container.json") == "{}");
}

TEST_CASE("a pack cut at any length, made longer, missing or renamed is found and throws when opened") {
    Small small;
    std::string whole = base::read_file(small.pack);
    for (size_t size = 0; size < whole.size(); size += 1 + size / 50) {
        base::replace_file(small.pack, std::string_view(whole).substr(0, size));
        CAPTURE(size);
        REQUIRE(error_of([&] { small.repository->open(small.record); }) == "damaged");
        REQUIRE(small.repository->verify(small.record.id).faults.size() == 1);
    }
    base::replace_file(small.pack, whole + "x");
    CHECK(!faults_of(*small.repository).empty());
    base::replace_file(small.pack, "x" + whole);
    CHECK(!faults_of(*small.repository).empty());
    SnapshotRecord other = store::test::store(*small.repository, info_for("web", 7), "other");
    fs::copy_file(Layout{small.repo()}.pack(other.id), small.pack, fs::copy_options::overwrite_existing);
    CHECK(error_of([&] { small.repository->open(small.record); }) == "damaged");
    fs::remove(small.pack);
    CHECK(error_of([&] { small.repository->open(small.record); }) == "damaged");
    VerifyReport report = small.repository->verify({});
    REQUIRE(report.faults.size() == 1);
    CHECK(report.faults[0].message.find("is missing") != std::string::npos);
    CHECK(report.snapshots == 2);
    small.repository->remove(small.record.id);
    CHECK(faults_of(*small.repository).empty());
}

TEST_CASE("a lost pack costs other snapshots the files that have pages in it, and no more") {
    Scratch scratch;
    auto repository = scratch.open();
    std::string old = noise(300000, 1), changed = old;
    changed[100000] = static_cast<char>(changed[100000] + 1);
    std::optional<SnapshotId> parent;
    std::vector<SnapshotRecord> records;
    for (int number = 1; number <= 3; ++number) {
        auto writer = repository->begin(parent);
        writer->add("images/pages-1.img", BytesFile(number == 1 ? old : changed));
        writer->add("images/pages-2.img", BytesFile(noise(300000, 10 + static_cast<uint64_t>(number))));
        SnapshotInfo info = info_for("web", 1'700'000'000 + number);
        info.parent = parent;
        CatalogRows rows = some_rows();
        rows.processes[0].command = fmt::format("own {}", number);
        records.push_back(writer->commit(info, rows));
        parent = records.back().id;
    }
    fs::path pack = Layout{scratch.repo()}.pack(records[0].id);
    std::string whole = base::read_file(pack);
    auto lose = [&](const std::string& what) {
        if (what == "missing")
            fs::remove(pack);
        else
            base::replace_file(pack, std::string_view(whole).substr(0, whole.size() / 2));
    };
    for (const std::string what : {"missing", "cut"}) {
        CAPTURE(what);
        lose(what);
        CHECK(error_of([&] { repository->open(records[0]); }) == "damaged");
        for (size_t i : {1, 2}) {
            CAPTURE(i);
            CHECK((read_back(*repository, records[i], "images/pages-2.img") == noise(300000, 11 + i)));
            try {
                read_back(*repository, records[i], "images/pages-1.img");
                FAIL("read");
            } catch (const base::Error& error) {
                CHECK(error.kind() == base::ErrorKind::damaged);
                CHECK(error.message().find("images/pages-1.img") != std::string::npos);
                CHECK(error.message().find(records[0].id.substr(0, 12)) != std::string::npos);
            }
            // Whoever is asked whether all is there must not be content.
            CHECK(repository->verify(records[i].id).faults.size() == 1);
        }
        // What two snapshots have in the lost pack they have in common, unread.
        auto second = repository->open(records[1]), third = repository->open(records[2]);
        auto mine = second->open("images/pages-1.img"), theirs = third->open("images/pages-1.img");
        images::Likeness likeness = mine->likeness(0, *theirs, 0, 65536);
        CHECK(likeness.answer == images::Likeness::Answer::equal);
        CHECK(likeness.bytes == 65536);

        // The next one does not build on what cannot be read.
        auto writer = repository->begin(records[2].id);
        writer->add("images/pages-1.img", BytesFile(changed));
        SnapshotRecord next = writer->commit(info_for("web", what == "cut" ? 5 : 6), some_rows());
        CHECK((read_back(*repository, next, "images/pages-1.img") == changed));
        CHECK(repository->verify(next.id).faults.empty());

        RebuildReport report = rebuild_catalog(scratch.repo());
        CHECK(report.unreadable.size() == (what == "cut" ? 1 : 0));
        // Their rows are differences to those of the first.
        CHECK(report.without_rows.size() == 2);
        repository = scratch.open();
        CHECK_NOTHROW(repository->resolve("web@2", {}));
    }
    base::replace_file(pack, whole);
    rebuild_catalog(scratch.repo());
    repository = scratch.open();
    CHECK(faults_of(*repository).empty());
    CHECK((read_back(*repository, records[1], "images/pages-1.img") == changed));
}

TEST_CASE("a hostile tail never crashes the reader, and gaps, overlaps and bombs are damage") {
    std::string blocks = make_header() + "rawbytes";
    FileEntry file{
        "f", 8, {{k_header_size, 8, BlockKind::raw, 0, base::digest_of(base::as_bytes("rawbytes"))}}};
    Scratch scratch;
    auto path = scratch.directory.path() / "p";
    auto outcome = [&](const std::vector<FileEntry>& files, uint64_t end, const std::string& extra = "") {
        base::replace_file(path, blocks + extra + make_tail({files, "{}", 1}, end));
        return error_of([&] { Pack(path, id_of(files, "{}"), "t"); });
    };
    CHECK(outcome({file}, 24) == "none");
    CHECK(outcome({file}, 28, "gap!") == "damaged");
    FileEntry twin = file;
    twin.name = "g";
    CHECK(outcome({file, twin}, 24) == "damaged");
    CHECK(outcome({twin, file}, 24) == "damaged");
    FileEntry unsafe = file;
    unsafe.name = "../f";
    CHECK(outcome({unsafe}, 24) == "damaged");
    FileEntry outside = file;
    outside.blocks[0].offset = UINT64_MAX - 3;
    CHECK(outcome({outside}, 24) == "damaged");
    FileEntry bomb = file;
    bomb.size = UINT64_MAX;
    CHECK(outcome({bomb}, 24) == "damaged");
    FileEntry inflated = file;
    inflated.blocks[0].kind = BlockKind::zstd;
    CHECK(outcome({inflated}, 24) == "damaged");

    // Bits flipped under a digest that is made to fit, as one who can compute SHA-256 would.
    std::mt19937 random(1);
    std::string tail = make_tail({{file}, "{}", 1}, 24);
    for (int i = 0; i < 3000; ++i) {
        std::string bad = tail;
        size_t body = bad.size() - k_trailer_size;
        for (int n = 0; n < 2; ++n) bad[random() % body] = static_cast<char>(random());
        std::string covered = bad.substr(0, body) + bad.substr(body, 32);
        base::Digest digest = base::digest_of(base::as_bytes(covered));
        bad.replace(body + 32, 32, base::as_text(digest.bytes));
        Trailer trailer{24, body - 2, 2, 1, digest};
        try {
            parse_tail(base::as_bytes(std::string_view(bad).substr(0, body)), trailer, "t");
        } catch (const base::Error& error) {
            CHECK(error.kind() == base::ErrorKind::damaged);
        }
    }
}

TEST_CASE("verify finds a changed row, a strange file and a damaged catalog") {
    Small small;
    auto change = [&](const std::string& sql) {
        Database(small.repository->catalog_path(), Database::Mode::write).execute(sql);
        return faults_of(*small.repository);
    };
    CHECK(change("UPDATE snapshots SET message = 'nothing happened'").find("row differs") !=
          std::string::npos);
    CHECK(change("UPDATE snapshots SET message = 'before the change'").empty());
    CHECK(change("UPDATE processes SET command = 'evil'").find("processes, fds") != std::string::npos);
    CHECK(change("UPDATE processes SET command = 'sh'").empty());
    CHECK(!change("DELETE FROM files").empty());
    base::replace_file(small.repo() / "packs" / "note.txt", "");
    base::replace_file(small.repo() / "extra", "");
    base::replace_file(Layout{small.repo()}.pack(std::string(64, 'b')), "");
    std::string faults = faults_of(*small.repository);
    CHECK(faults.find("note.txt does not belong") != std::string::npos);
    CHECK(faults.find("extra does not belong") != std::string::npos);
    CHECK(faults.find("bbbb.pack does not belong") != std::string::npos);
}

TEST_CASE("a catalog whose pages were overwritten is damage, not a crash") {
    Scratch scratch;
    {
        auto repository = scratch.open();
        for (int i = 0; i < 20; ++i) store::test::store(*repository, info_for("web", i), std::to_string(i));
    }
    Layout layout{scratch.repo()};
    std::string whole = base::read_file(layout.catalog());
    for (size_t page = 0; page < whole.size() / 4096; ++page) {
        std::string bad = whole;
        bad.replace(page * 4096, 4096, noise(4096, page));
        base::replace_file(layout.catalog(), bad);
        CAPTURE(page);
        std::string found;
        std::string error = error_of([&] { found = faults_of(*scratch.open(OpenMode::read)); });
        CHECK((error == "damaged" || error == "unsupported" || error == "failed" || !found.empty()));
    }
}

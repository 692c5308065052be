// Pages shared between snapshots: what the next one costs, and that it is what was put in.
#include <sys/stat.h>

#include <catch2/catch_test_macros.hpp>
#include <filesystem>
#include <map>
#include <random>

#include "base/fd.h"
#include "base/process.h"
#include "store/hint_table.h"
#include "store/layout.h"
#include "store/pack_format.h"
#include "store/page_pack.h"
#include "store/snapshot_source.h"
#include "tests/store/helpers.h"

using namespace cprewind::store;
using namespace cprewind::store::test;
namespace base = cprewind::base;
namespace fs = std::filesystem;

namespace {

constexpr size_t k_kib = 1024, k_mib = 1024 * k_kib;

SnapshotRecord store_next(Repository& repository, const std::string& content, const SnapshotRecord* parent,
                          const PageAddresses& addresses = {}, int second = 0) {
    std::optional<SnapshotId> id;
    if (parent) id = parent->id;
    auto writer = repository.begin(id);
    writer->add("images/pages-1.img", BytesFile(content), {}, addresses);
    SnapshotInfo info =
        info_for("web", 1'700'000'000 + second + (parent ? static_cast<int>(parent->number) : 0));
    info.parent = id;
    return writer->commit(info, some_rows());
}

std::string content_of(const Repository& repository, const SnapshotRecord& record) {
    return read_back(repository, record, "images/pages-1.img");
}

// A cache line in each of some pages.
void touch(std::string& content, std::mt19937& random, size_t pages) {
    for (size_t i = 0; i < pages; ++i) {
        size_t at = (random() % (content.size() / 4096)) * 4096 + (random() % 63) * 64;
        for (size_t j = 0; j < 64; ++j) content[at + j] = static_cast<char>(random());
    }
}

}  // namespace

TEST_CASE("a format 1 repository opens, verifies, and goes on in format 2") {
    Scratch scratch;
    fs::copy(CPREWIND_FIXTURES "/repository-v1", scratch.repo(), fs::copy_options::recursive);
    for (const char* name : {"tmp", "staging"}) fs::create_directory(scratch.repo() / name);
    for (const auto& entry : fs::recursive_directory_iterator(scratch.repo())) {
        fs::permissions(entry.path(), entry.is_directory() ? fs::perms::owner_all
                                                           : fs::perms::owner_read | fs::perms::owner_write);
    }
    fs::permissions(scratch.repo(), fs::perms::owner_all);
    std::string first = pattern(300000, 1) + std::string(600000, '\0') + noise(5000, 2);
    {
        auto reader = scratch.open(OpenMode::read);
        REQUIRE(reader->list().size() == 2);
        CHECK(faults_of(*reader).empty());
        CHECK((content_of(*reader, reader->list()[0]) == first));
        CHECK(reader->resolve("golden", {}).name() == "web@2");
    }
    auto repository = scratch.open(OpenMode::write);
    auto old = repository->list().back();
    auto next = store_next(*repository, first, &old, {}, 1000);
    CHECK(next.number == 3);
    CHECK((content_of(*repository, next) == first));
    repository->remove(old.id);
    CHECK(faults_of(*repository).empty());
    CHECK((content_of(*repository, repository->list()[0]) == first));
}

TEST_CASE("a next snapshot costs what changed, generation after generation, and each is what was put in") {
    Scratch scratch;
    auto repository = scratch.open();
    std::mt19937 random(3);
    std::string content = noise(4 * k_mib, 1) + pattern(4 * k_mib, 2);
    std::vector<std::string> contents{content};
    std::vector<SnapshotRecord> records{store_next(*repository, content, nullptr)};
    for (int generation = 1; generation < 40; ++generation) {
        touch(content, random, 40);
        contents.push_back(content);
        records.push_back(store_next(*repository, content, &records.back()));
        INFO("generation " << generation);
        CHECK(records.back().stored_bytes < 100 * k_kib);
        auto packs = open_pack_set(Layout{scratch.repo()}, records.back().id, "t");
        CHECK(packs->count() <= 14);
    }
    for (size_t i = 0; i < records.size(); ++i) CHECK((content_of(*repository, records[i]) == contents[i]));
    CHECK(faults_of(*repository).empty());
}

TEST_CASE("pages are found by their address, wherever the file has them") {
    Scratch scratch;
    auto repository = scratch.open();
    std::string content = noise(2 * k_mib, 1);
    PageAddresses before{{{"1", 0x10000, 0, content.size()}}};
    SnapshotRecord first = store_next(*repository, content, nullptr, before);
    // Two new pages in front, and a byte of each old page changed: nothing but the address finds them.
    std::string next = noise(8192, 5) + content;
    for (size_t at = 8192; at < next.size(); at += 4096) next[at] = static_cast<char>(next[at] ^ 1);
    PageAddresses after{{{"1", 0x8000, 0, 8192}, {"1", 0x10000, 8192, content.size()}}};
    SnapshotRecord second = store_next(*repository, next, &first, after);
    CHECK(second.stored_bytes < 60 * k_kib);
    CHECK((content_of(*repository, second) == next));
}

TEST_CASE(
    "a file that knows its predecessor is found again wherever it moved, and what is the same is not read") {
    // A container's files, one behind the other: the first of them grew.
    class Growing : public BytesFile {
     public:
        using BytesFile::BytesFile;
        size_t read_at(uint64_t offset, std::span<std::byte> out) const override {
            // A piece of work that is the same from end to end is left alone.
            CHECK(offset < 4 * k_mib);
            return BytesFile::read_at(offset, out);
        }
    };
    Scratch scratch;
    auto repository = scratch.open();
    std::string log = noise(2 * k_mib, 1), rest = noise(6 * k_mib, 2) + std::string(k_mib, '\0');
    auto writer = repository->begin();
    writer->add("layer.data", BytesFile(log + rest));
    SnapshotRecord first = writer->commit(info_for("web"), some_rows());
    std::string next = log + noise(4096, 3) + rest;
    PageAddresses addresses;
    addresses.before = {{0, log.size(), 0, false}, {log.size() + 4096, rest.size(), log.size(), true}};
    writer = repository->begin(first.id);
    writer->add("layer.data", Growing(next), {}, addresses);
    SnapshotRecord second = writer->commit(info_for("web", 1'700'000'001), some_rows());
    CHECK(second.stored_bytes < 30 * k_kib);
    CHECK((read_back(*repository, second, "layer.data") == next));
    CHECK(faults_of(*repository).empty());
}

TEST_CASE("equal pages take their space once, within a file and across files and containers") {
    Scratch scratch;
    auto repository = scratch.open();
    std::string page = noise(4096, 1), content;
    for (int i = 0; i < 2000; ++i) content += page;
    auto writer = repository->begin();
    writer->add("images/pages-1.img", BytesFile(content));
    writer->add("images/pages-2.img", BytesFile(content));
    SnapshotRecord record = writer->commit(info_for("web"), some_rows());
    CHECK(record.stored_bytes < 20 * k_kib);
    CHECK((read_back(*repository, record, "images/pages-2.img") == content));
}

TEST_CASE("pages that differ in one bit are never taken for one another") {
    Scratch scratch;
    auto repository = scratch.open();
    std::string page = noise(4096, 1), content;
    for (size_t i = 0; i < 600; ++i) {
        std::string other = page;
        other[(i * 37) % 4096] = static_cast<char>(other[(i * 37) % 4096] ^ (1 << (i % 8)));
        content += other;
    }
    SnapshotRecord first = store_next(*repository, content, nullptr);
    CHECK((content_of(*repository, first) == content));
    std::string next = content;
    for (size_t at = 0; at < next.size(); at += 4096)
        next[at + 4095] = static_cast<char>(next[at + 4095] ^ 1);
    SnapshotRecord second = store_next(*repository, next, &first);
    CHECK((content_of(*repository, second) == next));
    CHECK((content_of(*repository, first) == content));
}

TEST_CASE("a forged hint, of which no digest tells, is found by verify and harms no restore") {
    Scratch scratch;
    auto repository = scratch.open();
    std::string content = noise(300 * 4096, 1);
    SnapshotRecord record = store_next(*repository, content, nullptr);
    fs::path path = Layout{scratch.repo()}.pack(record.id);
    std::string pack = base::read_file(path);
    Trailer trailer = parse_trailer(
        base::as_bytes(std::string_view(pack).substr(pack.size() - k_trailer_size)), pack.size(), "the pack");
    std::string index = pack.substr(trailer.index_offset, trailer.index_size);
    std::string info = pack.substr(trailer.index_offset + trailer.index_size, trailer.info_size);
    index.back() = static_cast<char>(index.back() ^ 1);  // of the last hint
    pack.resize(trailer.index_offset);
    pack += seal_tail(index, info, trailer.number, trailer.index_offset);
    base::replace_file(path, pack);
    repository = scratch.open();
    CHECK((content_of(*repository, record) == content));
    CHECK(repository->verify({}, {}, VerifyMode::structure).faults.empty());
    CHECK(faults_of(*repository).find("the hints of group") != std::string::npos);
}

TEST_CASE("removing a snapshot gives back what no other needs and harms none") {
    Scratch scratch;
    auto repository = scratch.open();
    std::mt19937 random(9);
    std::string content = noise(4 * k_mib, 1);
    std::vector<std::string> contents;
    std::vector<SnapshotRecord> records;
    for (int i = 0; i < 6; ++i) {
        contents.push_back(content);
        records.push_back(store_next(*repository, content, records.empty() ? nullptr : &records.back()));
        touch(content, random, 100);
        if (i == 2)
            content.replace(0, 2 * k_mib, noise(2 * k_mib, 77));  // half of it is another from here on
    }
    repository->remove(records[0].id);
    repository->remove(records[1].id);
    repository->remove(records[4].id);
    for (size_t i : {2, 3, 5}) CHECK((content_of(*repository, records[i]) == contents[i]));
    CHECK(faults_of(*repository).empty());
    CHECK(repository->remove(records[2].id) > k_mib);  // the old half is needed by nobody now
    for (size_t i : {3, 5}) CHECK((content_of(*repository, records[i]) == contents[i]));
    repository->remove(records[3].id);
    repository->remove(records[5].id);
    CHECK(fs::is_empty(scratch.repo() / "packs"));
    CHECK(faults_of(*repository).empty());
}

TEST_CASE("what was removed and is stored once more has all of its pages, and keeps them") {
    Scratch scratch;
    auto repository = scratch.open();
    std::mt19937 random(17);
    std::string content = noise(2 * k_mib, 1), next = content.substr(0, k_mib);
    touch(next, random, 20);
    SnapshotRecord first = store_next(*repository, content, nullptr);
    SnapshotRecord second = store_next(*repository, next, &first);
    Layout layout{scratch.repo()};
    CHECK(repository->remove(first.id) > k_mib / 2);  // the second half of the kept pack is a hole now
    SnapshotRecord again = store_next(*repository, content, nullptr);
    REQUIRE(again.id == first.id);
    REQUIRE(fs::exists(layout.kept_pack(first.id)));
    auto check = [&] {
        CHECK((content_of(*repository, again) == content));
        CHECK((content_of(*repository, second) == next));
        CHECK(faults_of(*repository).empty());
    };
    check();
    // Whatever is removed next lets go of the kept one, which nobody needs beside the whole one.
    SnapshotRecord other = store_next(*repository, noise(k_mib, 5), nullptr, {}, 50);
    repository->remove(other.id);
    CHECK(!fs::exists(layout.kept_pack(first.id)));
    check();
    CHECK(repository->remove(again.id) > k_mib / 2);
    CHECK((content_of(*repository, second) == next));
    CHECK(faults_of(*repository).empty());
}

TEST_CASE("a snapshot whose every page lives on in the next gives nothing back") {
    Scratch scratch;
    auto repository = scratch.open();
    std::string content = noise(k_mib, 5);
    SnapshotRecord first = store_next(*repository, content, nullptr);
    SnapshotRecord second = store_next(*repository, content, &first);
    fs::path pack = Layout{scratch.repo()}.pack(first.id);
    auto blocks = [](const fs::path& path) {
        struct stat st {};
        REQUIRE(::stat(path.c_str(), &st) == 0);
        return st.st_blocks;
    };
    auto before = blocks(pack);
    CHECK(repository->remove(first.id) == 0);
    CHECK(blocks(Layout{scratch.repo()}.kept_pack(first.id)) == before);
    CHECK((content_of(*repository, second) == content));
    CHECK(repository->remove(second.id) > k_mib);  // now the first one's pack goes, too
}

TEST_CASE("several snapshots go at once, or none") {
    Scratch scratch;
    auto repository = scratch.open();
    std::mt19937 random(11);
    std::string content = noise(k_mib, 1);
    std::vector<SnapshotRecord> records;
    std::vector<std::string> contents;
    for (int i = 0; i < 5; ++i) {
        contents.push_back(content);
        records.push_back(store_next(*repository, content, records.empty() ? nullptr : &records.back()));
        touch(content, random, 20);
    }
    CHECK(error_of([&] {
              repository->remove(std::vector{records[1].id, std::string(64, '0'), records[2].id});
          }) == "not-found");
    CHECK(repository->list().size() == 5);
    CHECK(repository->remove(std::vector{records[0].id, records[1].id, records[4].id}) > 0);
    CHECK(repository->list().size() == 2);
    for (size_t i : {2, 3}) CHECK((content_of(*repository, records[i]) == contents[i]));
    CHECK(faults_of(*repository).empty());
    CHECK(repository->remove(std::vector{records[2].id, records[3].id}) > k_mib);
    CHECK(fs::is_empty(scratch.repo() / "packs"));
}

TEST_CASE("what was given back is never referred to again, and damage elsewhere is no new snapshot's loss") {
    Scratch scratch;
    auto repository = scratch.open();
    std::string old_half = noise(2 * k_mib, 1), kept_half = noise(2 * k_mib, 2),
                new_half = noise(2 * k_mib, 3);
    SnapshotRecord first = store_next(*repository, old_half + kept_half, nullptr);
    SnapshotRecord second = store_next(*repository, new_half + kept_half, &first);
    CHECK(repository->remove(first.id) > k_mib);
    // What was in the old half comes again, elsewhere: its hints are still in the kept pack, its pages are not.
    std::string again = new_half + kept_half + old_half;
    SnapshotRecord third = store_next(*repository, again, &second);
    CHECK((content_of(*repository, third) == again));
    // The parent is gone and only part of it kept: it is no parent any more.
    repository->remove(second.id);
    SnapshotRecord fourth = store_next(*repository, again, &second, {}, 500);
    CHECK((content_of(*repository, fourth) == again));
    CHECK(faults_of(*repository).empty());

    // A flipped bit in a pack that others draw from.
    fs::path pack = Layout{scratch.repo()}.pack(third.id);
    flip_bit(pack, 100'000, 1);
    SnapshotRecord fifth = store_next(*repository, again, &third, {}, 600);
    CHECK((content_of(*repository, fifth) == again));
    CHECK(!faults_of(*repository).empty());
}

TEST_CASE("damaged differences of a parent are not referred to") {
    Scratch scratch;
    auto repository = scratch.open();
    std::mt19937 random(13);
    std::string content = noise(2 * k_mib, 1);
    SnapshotRecord first = store_next(*repository, content, nullptr);
    touch(content, random, 200);
    SnapshotRecord second = store_next(*repository, content, &first);
    // Its pack begins with groups of differences. Every bit of a frame counts, even one that changes nothing it decodes to.
    fs::path pack = Layout{scratch.repo()}.pack(second.id);
    for (uint64_t at : {k_header_size, k_header_size + 40, k_header_size + 200}) {
        flip_bit(pack, at, 3);
        SnapshotRecord next = store_next(*repository, content, &second, {}, static_cast<int>(500 + at));
        CHECK((content_of(*repository, next) == content));
        flip_bit(pack, at, 3);
        CHECK((content_of(*repository, second) == content));
    }
    CHECK(faults_of(*repository).empty());
}

TEST_CASE("a table of hints keeps the first place of each, however they are chosen") {
    HintTable<uint32_t> table;
    CHECK(table.find(7) == nullptr);
    std::map<uint64_t, uint32_t> expected;
    std::mt19937_64 random(1);
    for (uint32_t i = 0; i < 50'000; ++i) {
        // Some have their low bits in common, some their high ones, some come twice.
        uint64_t hint = i % 4 == 0 ? uint64_t{i} << 40 | 1 : i % 4 == 1 ? i + 1 : random() % 20'000 + 1;
        expected.emplace(hint, i);
        table.add(hint, i);
    }
    CHECK(table.size() == expected.size());
    bool right = true;
    for (const auto& [hint, place] : expected) {
        const uint32_t* found = table.find(hint);
        right = right && found != nullptr && *found == place;
    }
    CHECK(right);
    for (uint64_t hint = 100'000; hint < 101'000; ++hint) CHECK(table.find(hint) == nullptr);
}

TEST_CASE("the script of docs/ restores snapshots of both formats with nothing of ours") {
    Scratch scratch;
    auto repository = scratch.open();
    std::mt19937 random(5);
    std::string content = noise(200 * k_kib, 1) + std::string(100 * k_kib, '\0') + pattern(300'123, 2);
    SnapshotRecord first = store_next(*repository, content, nullptr);
    touch(content, random, 20);
    SnapshotRecord second = store_next(*repository, content, &first);
    auto script = [&](const fs::path& root, const std::string& id, const std::string& name) {
        fs::path out = scratch.directory.path() / name;
        auto result = cprewind::base::run(
            {"python3", CPREWIND_FIXTURES "/../docs/read-snapshot.py", root.string(), id, out.string()});
        CAPTURE(result.err);
        REQUIRE(result.status.success());
        return cprewind::base::read_file(out / "images/pages-1.img");
    };
    CHECK((script(scratch.repo(), second.id, "second") == content));
    repository->remove(first.id);  // its pack is kept for the second's pages
    CHECK((script(scratch.repo(), second.id, "again") == content));
    for (const auto& entry : fs::directory_iterator(CPREWIND_FIXTURES "/repository-v1/packs")) {
        std::string id = entry.path().stem();
        std::string old = script(CPREWIND_FIXTURES "/repository-v1", id, id);
        CHECK((old.size() == 300000 || old.size() == 905000));
        CHECK((old == pattern(300000, 3) ||
               old == pattern(300000, 1) + std::string(600000, '\0') + noise(5000, 2)));
    }
}

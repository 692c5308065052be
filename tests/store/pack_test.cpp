// Blocks and packs: what goes in comes out, and the id says what is in.
#include <fcntl.h>
#include <sys/stat.h>

#include <catch2/catch_test_macros.hpp>

#include "base/error.h"
#include "store/block.h"
#include "store/extract.h"
#include "store/info_json.h"
#include "store/pack_format.h"
#include "store/rows_codec.h"
#include "tests/store/helpers.h"

using namespace cprewind;
using namespace cprewind::store;
using namespace cprewind::store::test;

TEST_CASE("a zero block takes no bytes, noise is stored as it is, a pattern is compressed") {
    BlockEncoder encoder;
    BlockEntry entry;
    std::string zeros(k_block_size, '\0');
    CHECK(encoder.encode(base::as_bytes(zeros), entry).empty());
    CHECK(entry.kind == BlockKind::zero);
    std::string random = noise(k_block_size, 1);
    CHECK(encoder.encode(base::as_bytes(random), entry).size() == random.size());
    CHECK(entry.kind == BlockKind::raw);
    std::string text = pattern(k_block_size, 1);
    CHECK(encoder.encode(base::as_bytes(text), entry).size() < text.size() / 4);
    CHECK(entry.kind == BlockKind::zstd);
    zeros.back() = 1;
    encoder.encode(base::as_bytes(zeros), entry);
    CHECK(entry.kind == BlockKind::zstd);
}

TEST_CASE("a block whose bytes are not those of its digest does not decode") {
    BlockEncoder encoder;
    BlockDecoder decoder;
    for (const std::string& raw : {noise(5000, 1), pattern(5000, 1)}) {
        BlockEntry entry;
        auto stored = encoder.encode(base::as_bytes(raw), entry);
        std::vector<std::byte> out(raw.size());
        CHECK(decoder.decode(entry, stored, out));
        CHECK(base::as_text(out) == raw);
        entry.digest.bytes[31] ^= std::byte{1};
        CHECK(!decoder.decode(entry, stored, out));
    }
}

TEST_CASE("files of every awkward size come back byte for byte, at any offset") {
    Scratch scratch;
    auto repository = scratch.open();
    auto writer = repository->begin();
    std::vector<std::string> contents;
    for (size_t size :
         {size_t{0}, size_t{1}, k_block_size - 1, k_block_size, k_block_size + 1, 3 * k_block_size + 77}) {
        contents.push_back(size % 2 == 0 ? noise(size, size) : pattern(size, size));
        writer->add("f" + std::to_string(size), BytesFile(contents.back()));
    }
    std::string holes = pattern(k_block_size, 5) + std::string(5 * k_block_size, '\0') + "end";
    writer->add("dir/holes", BytesFile(holes));
    SnapshotRecord record = writer->commit(info_for("web"), {});
    for (const std::string& content : contents) {
        CHECK((read_back(*repository, record, "f" + std::to_string(content.size())) == content));
    }
    CHECK((read_back(*repository, record, "dir/holes") == holes));
    CHECK(record.raw_bytes > record.stored_bytes);

    auto source = repository->open(record);
    // The files added, and the one of the catalog's rows: whoever reads what is listed has read every byte.
    CHECK(source->list().size() == contents.size() + 2);
    CHECK(source->open(k_rows_file) != nullptr);
    CHECK(source->describe() == "web@1");
    CHECK(source->open("nothing") == nullptr);
    auto file = source->open("dir/holes");
    for (uint64_t offset = k_block_size - 9; offset < holes.size(); offset += 65521) {
        std::string part(70000, 'x');
        part.resize(file->read_at(offset, std::as_writable_bytes(std::span(part))));
        REQUIRE(part == holes.substr(offset, 70000));
    }
    std::byte none[1];
    CHECK(file->read_at(holes.size(), none) == 0);
    CHECK(file->read_at(UINT64_MAX, none) == 0);
}

TEST_CASE("extract gives the same bytes and leaves zeros as holes, over whatever the file held") {
    Scratch scratch;
    auto repository = scratch.open();
    std::string content = noise(k_block_size, 1) + std::string(64 * k_block_size, '\0') + pattern(999, 3);
    SnapshotRecord record = store::test::store(*repository, info_for("web"), content);
    auto path = scratch.directory.path() / "out";
    base::replace_file(path, std::string(80 * k_block_size, 'x'));
    base::Fd fd = base::open_file(path, O_RDWR);
    uint64_t last = 0;
    extract(*repository->open(record)->open("images/pages-1.img"), fd.get(),
            [&](uint64_t done, uint64_t) { last = done; });
    CHECK(last == content.size());
    CHECK((base::read_file(path) == content));
    struct stat st {};
    REQUIRE(::fstat(fd.get(), &st) == 0);
    CHECK(static_cast<uint64_t>(st.st_blocks) * 512 < 4 * k_block_size);
    extract(BytesFile(content), fd.get());
    CHECK((base::read_file(path) == content));
}

TEST_CASE("the id depends on content and info, not on the cores that made it") {
    Scratch one, two;
    std::string content = pattern(20 * k_block_size, 1) + noise(3 * k_block_size, 2);
    SnapshotId id = store::test::store(*one.open(), info_for("web"), content).id;
    CHECK(store::test::store(*two.open(), info_for("web"), content).id == id);

    Scratch three, four;
    SnapshotInfo other = info_for("web");
    other.parent = id;
    CHECK(store::test::store(*three.open(), other, content).id != id);
    content.back() = static_cast<char>(content.back() ^ 1);
    CHECK(store::test::store(*four.open(), info_for("web"), content).id != id);
}

TEST_CASE("the very same content twice takes its space once") {
    Scratch scratch;
    auto repository = scratch.open();
    std::string content = noise(3 << 20, 1);
    SnapshotRecord first = store::test::store(*repository, info_for("web"), content);
    SnapshotRecord second = store::test::store(*repository, info_for("other", 9), content);
    CHECK(first.stored_bytes > content.size());
    CHECK(second.stored_bytes < 20'000);
    CHECK((read_back(*repository, second, "images/pages-1.img") == content));
    CHECK(faults_of(*repository).empty());
}

TEST_CASE("names that would leave the directory or come twice are refused") {
    Scratch scratch;
    auto repository = scratch.open();
    for (const char* name : {"", "/etc/passwd", "../x", "a/../b", "a//b", ".", "a/"}) {
        CHECK(!is_file_name(name));
        CHECK(error_of([&] { repository->begin()->add(name, "x"); }) == "failed");
    }
    auto writer = repository->begin();
    writer->add("a", "x");
    CHECK(error_of([&] { writer->add("a", "y"); }) == "failed");
    CHECK(error_of([&] { writer->add(k_rows_file, "y"); }) == "failed");
}

TEST_CASE("info survives JSON, bytes that are not UTF-8 included") {
    SnapshotInfo info = info_for("web");
    info.kind = SnapshotKind::safety;
    info.message = "caf\xe9 \"quoted\" \\ \n";
    info.parent = std::string(64, 'a');
    info.tags = {"good", "better"};
    SnapshotInfo back = parse_info_json(make_info_json(info), "test");
    CHECK(make_info_json(back) == make_info_json(info));
    CHECK(back.message == info.message);
    CHECK(back.taken_at == info.taken_at);
    for (const char* bad : {"", "{", "[]", "{}", "{\"kind\":-1}", "nul"}) {
        CHECK(error_of([&] { parse_info_json(bad, "test"); }) == "damaged");
    }
}

TEST_CASE("rows survive their encoding and every truncation of it is noticed") {
    CatalogRows rows = normalized(some_rows());
    CHECK(rows.processes[0].arguments == "sh -c sleep 1");
    std::string bytes = make_rows(rows);
    CHECK(make_rows(parse_rows(base::as_bytes(bytes), "test")) == bytes);
    for (size_t size = 0; size < bytes.size(); ++size) {
        CHECK(error_of([&] { parse_rows(base::as_bytes(std::string_view(bytes).substr(0, size)), "t"); }) ==
              "damaged");
    }
}

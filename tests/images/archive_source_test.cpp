#include "images/archive_source.h"

#include <fmt/format.h>
#include <catch2/catch_test_macros.hpp>

#include "base/error.h"
#include "base/fd.h"
#include "images/checkpoint.h"
#include "images/open_source.h"
#include "images/pages.h"
#include "tests/images/image_builder.h"
#include "tests/images/tar_builder.h"

using namespace cprewind::images;
using namespace cprewind::images::test;
namespace base = cprewind::base;

namespace {

ArchiveSource archive(const std::string& bytes) {
    return {std::make_shared<MemoryFile>(bytes), "", "an archive made by hand"};
}

std::string text_of(const ImageSource& source, std::string_view name) {
    auto content = read_whole(source, name);
    return content ? *content : "(absent)";
}

}  // namespace

TEST_CASE("members of an archive are read, whatever its compression, in any order") {
    std::string big;
    for (int i = 0; i < 900'000; ++i) big += fmt::format("{:06}", i);
    std::string plain = member("./checkpoint/inventory.img", "inventory") + member("checkpoint/big", big) +
                        member("config.dump", "{}") + end_of_tar();
    for (const std::string& bytes : {plain, gzip(plain), zstd(plain)}) {
        ArchiveSource source = archive(bytes);
        CHECK(source.findings().empty());
        CHECK(source.list() ==
              std::vector<std::string>{"checkpoint/big", "checkpoint/inventory.img", "config.dump"});
        CHECK(text_of(source, "config.dump") == "{}");
        auto file = source.open("checkpoint/big");
        REQUIRE(file);
        REQUIRE(file->size() == big.size());
        for (uint64_t number : {800'000u, 5u, 899'999u, 0u}) {
            std::string piece(6, '\0');
            CHECK(file->read_at(number * 6, std::as_writable_bytes(std::span(piece.data(), 6))) == 6);
            CHECK(piece == fmt::format("{:06}", number));
        }
        CHECK(text_of(source, "checkpoint/inventory.img") == "inventory");
        CHECK(source.open("checkpoint/nothing") == nullptr);
    }
}

TEST_CASE("members that lead out of the archive are not read, and named") {
    std::string bytes = member("../evil", "x") + member("/abs", "x") + member("a/../../b", "x") +
                        member("a/./b", "good") + end_of_tar();
    ArchiveSource source = archive(bytes);
    CHECK(source.list() == std::vector<std::string>{"a/b"});
    REQUIRE(source.findings().size() == 3);
    CHECK(source.findings()[0].message.find("\"../evil\"") != std::string::npos);
    CHECK(source.findings()[1].message.find("\"/abs\"") != std::string::npos);
}

TEST_CASE("of members with one name the last is read, with a finding") {
    ArchiveSource source = archive(member("a", "first") + member("a", "last") + end_of_tar());
    CHECK(text_of(source, "a") == "last");
    REQUIRE(source.findings().size() == 1);
    CHECK(source.findings()[0].message.find("\"a\"") != std::string::npos);
}

TEST_CASE("a member that claims more than the archive has is cut, with a finding that names it") {
    std::string plain = make_header("pages-1.img", uint64_t{7} << 30) + std::string(300, 'p');
    for (const std::string& bytes : {plain, gzip(plain), zstd(plain)}) {
        ArchiveSource source = archive(bytes);
        CHECK(source.open("pages-1.img")->size() == 300);
        CHECK(text_of(source, "pages-1.img") == std::string(300, 'p'));
        REQUIRE_FALSE(source.findings().empty());
        CHECK(source.findings()[0].kind == FindingKind::truncated);
        CHECK(source.findings()[0].message.find("pages-1.img") != std::string::npos);
    }
}

TEST_CASE("long names come from pax and GNU records") {
    std::string name(150, 'n');
    std::string record = fmt::format("162 path={}/p\n", name);
    REQUIRE(record.size() == 162);
    std::string bytes = member("x", record, 'x') + member("short", "pax") +
                        member("././@LongLink", name + std::string(1, '\0'), 'L') + member("short", "gnu") +
                        end_of_tar();
    ArchiveSource source = archive(bytes);
    CHECK(source.findings().empty());
    CHECK(text_of(source, name + "/p") == "pax");
    CHECK(text_of(source, name) == "gnu");
}

TEST_CASE("a link named parent leads to another checkpoint in the archive, never out of it") {
    std::string bytes =
        member("pre/pagemap-1.img", "map") + make_header("checkpoint/parent", 0, '2', "../pre") +
        make_header("pre/parent", 0, '2', "../../etc") + member("checkpoint/pstree.img", "t") + end_of_tar();
    ArchiveSource source = archive(bytes);
    CHECK(text_of(source, "checkpoint/parent/pagemap-1.img") == "map");
    CHECK(source.open("checkpoint/parent/parent/passwd") == nullptr);
    REQUIRE(find_checkpoint(source));
    CHECK(*find_checkpoint(source) == "checkpoint/");
}

TEST_CASE("an archive cut at any byte is read as far as it goes") {
    std::string plain =
        member("checkpoint/pstree.img", "tree") + member("b", std::string(700, 'b')) + end_of_tar();
    for (const std::string& bytes : {plain, gzip(plain), zstd(plain)}) {
        for (size_t size = 0; size < bytes.size(); ++size) {
            std::string cut = bytes.substr(0, size);
            try {
                ArchiveSource source = archive(cut);
                for (const std::string& name : source.list()) text_of(source, name);
                // Never a silent loss: either both members are there or there is a finding.
                CHECK_FALSE((source.findings().empty() && source.list().size() < 2));
            } catch (const base::Error& error) {
                CHECK(error.kind() == base::ErrorKind::unsupported);
            }
        }
    }
}

TEST_CASE("too many members are not all read, and the finding names the first that is not") {
    std::string bytes;
    for (int i = 0; i < 200'010; ++i) bytes += make_header(fmt::format("m{}", i), 0);
    ArchiveSource source = archive(zstd(bytes + end_of_tar()));
    CHECK(source.list().size() <= 200'000);
    REQUIRE(source.findings().size() == 1);
    CHECK(source.findings()[0].message.find("\"m") != std::string::npos);
}

TEST_CASE("what is no archive, or is compressed in another way, is refused with a hint") {
    CHECK_THROWS_AS(archive("no archive at all"), base::Error);
    CHECK_THROWS_AS(archive(std::string(2000, '\0')), base::Error);
    CHECK_THROWS_AS(archive(gzip("no tar inside")), base::Error);
    try {
        archive(
            "\xfd"
            "7zXZ and more");
        FAIL("it was taken");
    } catch (const base::Error& error) {
        CHECK(error.message().find("compressed by something else") != std::string::npos);
    }
}

TEST_CASE("damage in the compressed bytes is a finding, and what came before is read") {
    std::string noise;
    uint32_t state = 1;
    for (int i = 0; i < 400'000; ++i)
        noise += static_cast<char>((state = state * 1664525 + 1013904223) >> 24);
    std::string plain = member("a", "early") + member("b", noise) + end_of_tar();
    std::string bytes = zstd(plain);
    // The second block's head: whatever it says now, the decoder cannot follow.
    for (size_t i = bytes.size() / 2; i < bytes.size(); ++i) bytes[i] = static_cast<char>(~bytes[i]);
    ArchiveSource source = archive(bytes);
    CHECK(text_of(source, "a") == "early");
    CHECK_FALSE(source.findings().empty());
    std::string torn = gzip(plain);
    torn.resize(torn.size() / 2);
    ArchiveSource other = archive(torn);
    CHECK(text_of(other, "a") == "early");
    CHECK_FALSE(other.findings().empty());
}

TEST_CASE("a checksum behind the archive is verified, and what is not compressed there is told") {
    std::string tar = member("checkpoint/pstree.img", std::string(100'000, 'p')) + end_of_tar();
    auto findings = [](const std::string& bytes) {
        ArchiveSource source(std::make_shared<MemoryFile>(bytes), "", "checked");
        CHECK(read_whole(source, "checkpoint/pstree.img")->size() == 100'000);
        return source.findings();
    };
    std::string whole = gzip(tar);
    CHECK(findings(whole).empty());
    CHECK(findings(gzip(tar) + gzip("") + std::string(700, '\0')).empty());
    std::string wrong = whole;
    wrong[wrong.size() - 6] ^= 1;  // of the CRC-32, the last but four bytes
    REQUIRE(findings(wrong).size() == 1);
    CHECK(findings(wrong)[0].message.find("checksum") != std::string::npos);
    CHECK(findings(whole.substr(0, whole.size() - 3)).size() == 1);
    CHECK(findings(whole + "more").size() == 1);
    CHECK(findings(zstd(tar)).empty());
    CHECK(findings(zstd(tar) + "more").size() == 1);
}

TEST_CASE("members of gzip that end anywhere, also within a header, are one stream") {
    std::string tar = member("checkpoint/pstree.img", std::string(3000, 'p')) + end_of_tar();
    for (size_t at = 1; at < tar.size(); at += 97) {
        ArchiveSource source(std::make_shared<MemoryFile>(gzip(tar.substr(0, at)) + gzip(tar.substr(at))), "",
                             "two members");
        CHECK(source.findings().empty());
        CHECK(*read_whole(source, "checkpoint/pstree.img") == std::string(3000, 'p'));
    }
}

TEST_CASE("a real export of podman is read the same from plain and from compressed bytes") {
    // podman reuses the directory of an earlier checkpoint, so from the second export on the archive holds
    // images of tasks that had ended by then (one more with each): no part of the checkpoint, and said so.
    size_t stale = 0;
    for (const char* name : {"podman.tar", "podman.tar.gz", "podman.tar.zst"}) {
        INFO(name);
        OpenedSource opened = open_source(std::string(CPREWIND_FIXTURES "/archives/") + name);
        CHECK(opened.findings.empty());
        CHECK(opened.files->open("config.dump"));
        CHECK(opened.files->open("volumes/vol1.tar"));
        Checkpoint checkpoint = load_checkpoint(*opened.images);
        REQUIRE(checkpoint.processes.size() >= 1);
        CHECK(checkpoint.processes[0].comm == "sh");
        CHECK(checkpoint.findings.size() == stale++);
        for (const Finding& finding : checkpoint.findings) CHECK(finding.file.starts_with("core-"));
        Findings findings;
        AddressSpace memory(*opened.images, checkpoint.processes[0], findings);
        bool complete = false;
        std::string arguments = read_range(memory, checkpoint.processes[0].arguments, 4096, complete);
        CHECK(complete);
        CHECK(arguments.starts_with(std::string("sh\0-c\0echo hello", 16)));
        CHECK(findings.empty());
    }
}

TEST_CASE("a source that holds no checkpoint, or an encrypted one, is refused") {
    CHECK_THROWS_AS(open_source(CPREWIND_FIXTURES "/kitchen.c"), base::Error);
    CHECK_THROWS_AS(open_source(CPREWIND_FIXTURES "/nothing"), base::Error);
    CHECK_THROWS_AS(open_source("/dev/null"), base::Error);
    base::TemporaryDirectory directory("/tmp", "cprewind-test-");
    base::replace_file(directory.path() / "inventory.img", "x");
    CHECK_NOTHROW(open_source(directory.path()));
    base::replace_file(directory.path() / "cipher.img", "x");
    CHECK_THROWS_AS(open_source(directory.path()), base::Error);
}

TEST_CASE("expected parts of a compressed archive come from one pass, in whatever order they are read") {
    class CountingFile : public MemoryFile {
     public:
        explicit CountingFile(std::string content) : MemoryFile(std::move(content)) {}
        size_t read_at(uint64_t offset, std::span<std::byte> out) const override {
            if (offset == 0 && out.size() > 512) ++passes;
            return MemoryFile::read_at(offset, out);
        }
        mutable int passes = 0;
    };
    std::string big;
    for (int i = 0; i < 900'000; ++i) big += fmt::format("{:06}", i);
    std::string plain = member("big", big) + end_of_tar();
    for (const std::string& bytes : {gzip(plain), zstd(plain)}) {
        auto stored = std::make_shared<CountingFile>(bytes);
        ArchiveSource source(stored, "", "an archive made by hand");
        auto file = source.open("big");
        int opening = stored->passes;
        for (uint64_t number : {800'000u, 5u, 400'000u}) file->expect(number * 6, 6);
        for (uint64_t number : {800'000u, 5u, 400'000u, 5u}) {
            std::string piece(6, '\0');
            CHECK(file->read_at(number * 6, std::as_writable_bytes(std::span(piece.data(), 6))) == 6);
            CHECK(piece == fmt::format("{:06}", number));
        }
        CHECK(opening == 1);
        CHECK(stored->passes == opening + 1);
    }
}

#include "images/image_reader.h"

#include <algorithm>
#include <cstring>

#include <catch2/catch_test_macros.hpp>

#include "base/error.h"
#include "images/proto/process.pb.h"
#include "images/proto/system.pb.h"
#include "tests/images/image_builder.h"

using namespace cprewind::images;
using namespace cprewind::images::test;
namespace criu = cprewind::criu;
namespace base = cprewind::base;

namespace {

criu::pstree_entry make_process(uint32_t pid) {
    criu::pstree_entry entry;
    entry.set_pid(pid);
    entry.set_ppid(0);
    entry.set_pgid(pid);
    entry.set_sid(pid);
    entry.add_threads(pid);
    return entry;
}

struct Outcome {
    std::vector<uint32_t> pids;
    Findings findings;
    bool has(FindingKind kind) const {
        return std::any_of(findings.begin(), findings.end(),
                           [&](const Finding& f) { return f.kind == kind; });
    }
};

Outcome read_pstree(const std::string& content) {
    MemorySource source;
    source.files["pstree.img"] = content;
    Outcome out;
    auto reader = ImageReader::open(source, "pstree.img", image_kind("PSTREE"), out.findings);
    criu::pstree_entry entry;
    while (reader && reader->next(entry)) out.pids.push_back(entry.pid());
    return out;
}

}  // namespace

TEST_CASE("entries come back in order and nothing is found in a sound image") {
    Outcome out = read_pstree(make_image("PSTREE", make_process(1), make_process(2)));
    CHECK(out.pids == std::vector<uint32_t>{1, 2});
    CHECK(out.findings.empty());
}

TEST_CASE("images of version 1.0 have the magic alone") {
    std::string content;
    base::append_integer(content, image_kind("PSTREE").magic);
    append_entry(content, make_process(5));
    CHECK(read_pstree(content).pids == std::vector<uint32_t>{5});
}

TEST_CASE("inventory.img and stats-dump have heads of their own") {
    MemorySource source;
    criu::inventory_entry inventory;
    inventory.set_img_version(2);
    source.files["inventory.img"] = make_image("INVENTORY", inventory);
    criu::stats_entry stats;
    source.files["stats-dump"] = make_image("STATS", stats);
    Findings findings;
    CHECK(read_single(source, "inventory.img", image_kind("INVENTORY"), inventory, findings));
    CHECK(read_single(source, "stats-dump", image_kind("STATS"), stats, findings));
    CHECK(findings.empty());
}

TEST_CASE("absent, empty, cut off and of another kind are four findings") {
    MemorySource source;
    Findings findings;
    CHECK_FALSE(ImageReader::open(source, "pstree.img", image_kind("PSTREE"), findings).has_value());
    CHECK(findings.back().kind == FindingKind::absent);
    CHECK(read_pstree("").has(FindingKind::empty));
    CHECK(read_pstree("abc").has(FindingKind::truncated));
    CHECK(read_pstree(make_head(image_kind("PSTREE")).substr(0, 6)).has(FindingKind::truncated));
    Outcome other = read_pstree(make_head(image_kind("MM")));
    CHECK(other.has(FindingKind::damaged));
    CHECK(other.findings.front().message.find("that of MM") != std::string::npos);
}

TEST_CASE("an image cut anywhere but between two entries says so and gives the entries before the cut") {
    std::string first = make_image("PSTREE", make_process(1));
    std::string whole = make_image("PSTREE", make_process(1), make_process(2));
    for (size_t size = 0; size < whole.size(); ++size) {
        INFO(size);
        Outcome out = read_pstree(whole.substr(0, size));
        bool between = size == first.size() || size == make_head(image_kind("PSTREE")).size();
        CHECK(out.findings.empty() == between);
        CHECK(out.pids.size() == (size >= first.size() ? 1u : 0u));
    }
}

TEST_CASE("any size that an entry may claim is compared with what is left before memory is asked for") {
    for (uint32_t size : {9u, 0x7fffffffu, 0x80000000u, 0xffffffffu}) {
        std::string content = make_head(image_kind("PSTREE"));
        base::append_integer(content, size);
        content += "12345678";
        INFO(size);
        Outcome out = read_pstree(content);
        CHECK(out.pids.empty());
        CHECK(out.has(FindingKind::truncated));
    }
}

TEST_CASE("an entry that is no such message is skipped with a finding and the next is read") {
    std::string content = make_head(image_kind("PSTREE"));
    base::append_text(content, "\xff\xff\xff\xff\xff");
    append_entry(content, make_process(2));
    Outcome out = read_pstree(content);
    CHECK(out.pids == std::vector<uint32_t>{2});
    REQUIRE(out.has(FindingKind::damaged));
    CHECK(out.findings.front().offset == 8);
}

TEST_CASE("a missing required field and an unknown one are findings, and the entry is kept") {
    criu::pstree_entry partial;
    partial.set_pid(3);
    Outcome lacking = read_pstree(make_image("PSTREE", partial));
    CHECK(lacking.pids == std::vector<uint32_t>{3});
    CHECK(lacking.has(FindingKind::damaged));

    std::string content = make_head(image_kind("PSTREE"));
    base::append_text(content,
                      make_process(4).SerializeAsString() + std::string("\xf8\x01\x01", 3));  // field 31
    Outcome newer = read_pstree(content);
    CHECK(newer.pids == std::vector<uint32_t>{4});
    REQUIRE(newer.has(FindingKind::unknown));
    CHECK(newer.findings.front().message.find("31") != std::string::npos);
}

TEST_CASE("an entry without bytes is an entry") {
    MemorySource source;
    source.files["stats-dump"] = make_image("STATS", criu::stats_entry());
    Findings findings;
    criu::stats_entry entry;
    CHECK(read_single(source, "stats-dump", image_kind("STATS"), entry, findings));
    CHECK(findings.empty());
}

TEST_CASE("garbage leaves a handful of findings, not one for each entry") {
    std::string content = make_head(image_kind("PSTREE"));
    for (int i = 0; i < 1000; ++i) base::append_text(content, "\xff\xff\xff");
    CHECK(read_pstree(content).findings.size() <= 16);
}

TEST_CASE("a second entry where there is one is a finding") {
    MemorySource source;
    source.files["pstree.img"] = make_image("PSTREE", make_process(1), make_process(2));
    Findings findings;
    criu::pstree_entry entry;
    CHECK(read_single(source, "pstree.img", image_kind("PSTREE"), entry, findings));
    CHECK(entry.pid() == 1);
    CHECK(findings.size() == 1);
}

TEST_CASE("raw bytes behind an entry are read whole or not at all") {
    MemorySource source;
    source.files["pstree.img"] = make_image("PSTREE", make_process(1)) + "payload";
    Findings findings;
    auto reader = ImageReader::open(source, "pstree.img", image_kind("PSTREE"), findings);
    criu::pstree_entry entry;
    REQUIRE(reader->next(entry));
    auto bytes = reader->extra(7);
    REQUIRE(bytes.has_value());
    CHECK(std::memcmp(bytes->data(), "payload", 7) == 0);
    CHECK_FALSE(reader->extra(1).has_value());
    CHECK(findings.back().kind == FindingKind::truncated);
    CHECK_FALSE(reader->extra(UINT64_MAX).has_value());
}

TEST_CASE("entries larger than the read window are read whole") {
    criu::pstree_entry big = make_process(1);
    for (uint32_t i = 0; i < 300'000; ++i) big.add_threads(i + 2);
    Outcome out = read_pstree(make_image("PSTREE", make_process(7), big, make_process(9)));
    CHECK(out.pids == std::vector<uint32_t>{7, 1, 9});
    CHECK(out.findings.empty());
}

TEST_CASE("an image whose bytes cannot be read further on is one finding, and the entries before stay") {
    class Unreadable : public ImageFile {
     public:
        Unreadable(std::string content, base::ErrorKind kind) : content_(std::move(content)), kind_(kind) {}
        uint64_t size() const override { return content_.size(); }
        size_t read_at(uint64_t offset, std::span<std::byte> out) const override {
            constexpr uint64_t k_sound = 512u << 10;
            if (offset + out.size() > k_sound) throw base::Error(kind_, "the rest is lost");
            std::memcpy(out.data(), content_.data() + offset, out.size());
            return out.size();
        }

     private:
        std::string content_;
        base::ErrorKind kind_;
    };
    struct Source : MemorySource {
        std::unique_ptr<ImageFile> open(std::string_view) const override {
            return std::make_unique<Unreadable>(content, kind);
        }
        std::string content;
        base::ErrorKind kind;
    };
    Source source;
    for (uint32_t pid = 1; source.content.size() < (700u << 10); ++pid) {
        if (pid == 1)
            source.content = make_image("PSTREE", make_process(pid));
        else
            append_entry(source.content, make_process(pid));
    }
    for (auto kind : {base::ErrorKind::damaged, base::ErrorKind::io, base::ErrorKind::permission}) {
        source.kind = kind;
        Findings findings;
        auto reader = ImageReader::open(source, "pstree.img", image_kind("PSTREE"), findings);
        REQUIRE(reader);
        criu::pstree_entry entry;
        uint32_t read = 0;
        auto read_all = [&] {
            while (reader->next(entry)) ++read;
        };
        if (kind == base::ErrorKind::permission) {
            CHECK_THROWS_AS(read_all(), base::Error);
            continue;
        }
        read_all();
        CHECK(read > 20000);
        REQUIRE(findings.size() == 1);
        CHECK(findings[0].kind == FindingKind::damaged);
        CHECK(findings[0].message == "the rest is lost");
    }
}

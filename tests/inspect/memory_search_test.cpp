#include "inspect/memory_search.h"

#include <fmt/format.h>

#include <catch2/catch_test_macros.hpp>
#include <random>

#include "base/error.h"
#include "images/directory_source.h"
#include "tests/inspect/memory_maker.h"

using namespace cprewind::inspect;
using namespace cprewind::inspect::test;
namespace base = cprewind::base;
namespace images = cprewind::images;
using images::MappingKind;

namespace {

constexpr uint64_t k_base = 0x10000;

struct Found {
    std::vector<SearchHit> hits;
    ScanSummary summary;
    images::Findings findings;

    // "pid:address:text" of each.
    std::vector<std::string> words() const {
        std::vector<std::string> out;
        for (const SearchHit& hit : hits)
            out.push_back(fmt::format("{}:{:x}:{}", hit.process->pid.value, hit.address, hit.match));
        return out;
    }
};

Found search(const Moment& moment, std::vector<Pattern> patterns, MemoryFilter filter = {},
             bool parallel = true) {
    Found found;
    PatternSet set(std::move(patterns));
    SearchOptions options;
    options.scan.filter = std::move(filter);
    options.scan.parallel_reads = parallel;
    auto add = [&](const SearchHit& hit) {
        found.hits.push_back(hit);
        return true;
    };
    found.summary = search_memory(moment, set, options, add, found.findings);
    return found;
}

Pattern text(const std::string& source) {
    return {PatternKind::text, source};
}
Pattern regex(const std::string& source) {
    return {PatternKind::regex, source};
}
Pattern hex(const std::string& source) {
    return {PatternKind::hex, source};
}

using Words = std::vector<std::string>;

// What a pattern finds in one page that begins with `content`.
Words in_page(const std::string& content, const Pattern& pattern) {
    MemoryMaker maker;
    MemoryMaker::map(maker.process(1), k_base, 1, MappingKind::heap);
    maker.pages(1, k_base, make_page(content));
    Words out;
    for (const SearchHit& hit : search(maker.moment(), {pattern}).hits) out.push_back(hit.match);
    return out;
}

std::string message_of(const Pattern& pattern) {
    try {
        PatternSet set({pattern});
    } catch (const base::Error& error) {
        CHECK(error.kind() == base::ErrorKind::usage);
        return error.message();
    }
    return "";
}

}  // namespace

TEST_CASE("what lies across the border of pages, of runs and of mappings is found") {
    MemoryMaker maker;
    images::Process& process = maker.process(1);
    MemoryMaker::map(process, k_base, 2, MappingKind::heap);
    MemoryMaker::map(process, k_base + 2 * k_page, 1, MappingKind::anonymous);
    maker.pages(1, k_base, make_page("", "sec") + make_page("ret", "pass"));
    maker.pages(1, k_base + 2 * k_page, make_page("word"));
    Found found = search(maker.moment(), {text("secret"), text("password")});
    CHECK(found.words() == Words{"1:10ffd:secret", "1:11ffc:password"});
    REQUIRE(found.hits.size() == 2);
    CHECK(found.hits[1].mapping->kind == MappingKind::heap);
    CHECK(found.summary.bytes == 3 * k_page);
    CHECK(search(maker.moment(), {regex("pass[a-z]+")}).words() == Words{"1:11ffc:password"});
}

TEST_CASE("a gap is no border to match across, a page of zeros is") {
    MemoryMaker maker;
    images::Process& process = maker.process(1);
    MemoryMaker::map(process, k_base, 4, MappingKind::anonymous);
    MemoryMaker::map(process, k_base + 8 * k_page, 1, MappingKind::anonymous);
    maker.pages(1, k_base, make_page("", "left"));
    maker.pages(1, k_base + 2 * k_page, make_page("mid", "sec"));
    maker.pages(1, k_base + 8 * k_page, make_page("ret"));
    CHECK(search(maker.moment(), {text("secret")}).hits.empty());
    CHECK(search(maker.moment(), {hex("6c 65 66 74 00 00")}).words() ==
          Words{fmt::format("1:10ffc:left{}", std::string(2, 0))});
    CHECK(search(maker.moment(), {hex("00 00 6d 69 64")}).words() ==
          Words{fmt::format("1:11ffe:{}mid", std::string(2, 0))});
    // Nobody ever wrote there, so nothing is there.
    CHECK(search(maker.moment(), {hex("00 00 00")}).hits.empty());
}

TEST_CASE("shared memory is searched once and told with everyone who maps it") {
    MemoryMaker maker;
    maker.checkpoint.processes.reserve(2);
    images::Process& one = maker.process(1);
    MemoryMaker::map(one, k_base, 2, MappingKind::anonymous_shared, 7);
    images::Process& two = maker.process(2);
    MemoryMaker::map(two, 0x500000, 1, MappingKind::heap);
    MemoryMaker::map(two, 0x500000 + k_page, 2, MappingKind::anonymous_shared, 7);
    maker.shared_pages(7, 0, make_page("ret of all", "") + make_page("secret"));
    maker.pages(2, 0x500000, make_page("", "sec"));
    Found found = search(maker.moment(), {text("secret")});
    // The second lies across a border that only process 2 has.
    CHECK(found.words() == Words{"1:11000:secret", "2:500ffd:secret"});
    REQUIRE(found.hits.size() == 2);
    REQUIRE(found.hits[0].also.size() == 1);
    CHECK(found.hits[0].also[0].pid.value == 2);
    CHECK(found.hits[0].also[0].address == 0x500000 + 2 * k_page);
    CHECK(found.hits[1].also.empty());
    CHECK(found.summary.bytes == 3 * k_page);
    // Not chosen: not seen, so the other shows it.
    MemoryFilter second;
    second.pids = {{2}};
    CHECK(search(maker.moment(), {text("secret")}, second).words() ==
          Words{"2:500ffd:secret", "2:502000:secret"});
}

TEST_CASE("pages of a parent checkpoint and pages in LZ4 blocks are searched like others") {
    MemoryMaker maker;
    MemoryMaker::map(maker.process(1), k_base, 2, MappingKind::heap);
    maker.in_parent(1, k_base, 1);
    maker.pages(1, k_base + k_page, make_page("ret"));
    maker.pages(1, k_base, make_page("", "sec"), "parent/");
    CHECK(search(maker.moment(), {text("secret")}).words() == Words{"1:10ffd:secret"});

    MemoryMaker packed;
    MemoryMaker::map(packed.process(1), k_base, 2, MappingKind::heap);
    packed.lz4_pages(1, k_base, make_page("", "sec") + make_page("ret"));
    CHECK(search(packed.moment(), {text("secret")}).words() == Words{"1:10ffd:secret"});
    CHECK(search(packed.moment(), {text("secret")}, {}, false).words() == Words{"1:10ffd:secret"});
}

TEST_CASE("what is not in the dump is told, by mapping and reason") {
    MemoryMaker maker;
    images::Process& process = maker.process(1);
    MemoryMaker::map(process, k_base, 4, MappingKind::file_private).path = "/lib/x";
    MemoryMaker::map(process, k_base + 4 * k_page, 2, MappingKind::heap);
    maker.pages(1, k_base + k_page, make_page("own"));
    maker.in_parent(1, k_base + 4 * k_page, 2);
    Found found = search(maker.moment(), {text("own")});
    CHECK(found.words() == Words{"1:11000:own"});
    REQUIRE(found.summary.unread.size() == 2);
    CHECK(found.summary.unread[0].state == images::PageState::from_file);
    CHECK(found.summary.unread[0].bytes == 3 * k_page);
    CHECK(found.summary.unread[1].state == images::PageState::parent);
    CHECK(found.summary.unread[1].bytes == 2 * k_page);
    CHECK(found.findings.size() == 1);
}

TEST_CASE("filters narrow what is searched") {
    MemoryMaker maker;
    images::Process& process = maker.process(1);
    MemoryMaker::map(process, k_base, 1, MappingKind::heap);
    MemoryMaker::map(process, k_base + k_page, 1, MappingKind::stack, 0, PROT_READ);
    MemoryMaker::map(process, k_base + 2 * k_page, 1, MappingKind::file_private, 0, PROT_READ | PROT_EXEC)
        .path = "/lib/x";
    maker.pages(1, k_base, make_page("X") + make_page("X") + make_page("X"));
    auto places = [&](const MemoryFilter& filter) {
        return search(maker.moment(), {text("X")}, filter).words();
    };
    auto with = [](auto set) {
        MemoryFilter filter;
        set(filter);
        return filter;
    };
    CHECK(places({}).size() == 3);
    CHECK(places(with([](auto& f) { f.kinds = {MappingKind::stack}; })) == Words{"1:11000:X"});
    CHECK(places(with([](auto& f) { f.protection = "w"; })) == Words{"1:10000:X"});
    CHECK(places(with([](auto& f) { f.protection = "xr"; })) == Words{"1:12000:X"});
    CHECK(places(with([](auto& f) { f.protection = "r-?p"; })) == Words{"1:11000:X", "1:12000:X"});
    CHECK(places(with([](auto& f) { f.mapping = "/lib"; })) == Words{"1:12000:X"});
    CHECK(places(with([](auto& f) { f.mapping = "0x11abc"; })) == Words{"1:11000:X"});
    CHECK(places(with([](auto& f) { f.ranges = {{0x10001, 0x11001}}; })) == Words{"1:11000:X"});
    CHECK(places(with([](auto& f) { f.pids = {{2}}; })).empty());
}

TEST_CASE("matches are the longest from their place and do not overlap") {
    CHECK(in_page("aaaa", text("aa")) == Words{"aa", "aa"});
    CHECK(in_page("xaaay", regex("a+")) == Words{"aaa"});
    CHECK(in_page("foobar foo", regex("foo|foobar")) == Words{"foobar", "foo"});
    CHECK(in_page("one=1\ntwo=22\n", regex("^[a-z]+=[0-9]+$")) == Words{"one=1", "two=22"});
    CHECK(in_page("a\nb", regex("a.b")).empty());
    CHECK(in_page("KEY key", {PatternKind::text, "key", true}) == Words{"KEY", "key"});
    CHECK(in_page("a.c abc", text("a.c")) == Words{"a.c"});
}

TEST_CASE("bytes in hexadecimal have wildcards for one digit and for two") {
    CHECK(in_page("\xde\xad\x05\xbe", hex("de ad ?? be")) == Words{"\xde\xad\x05\xbe"});
    CHECK(in_page("\xde\xad\n\xbe", hex("DEAD??be")).size() == 1);
    CHECK(in_page("\x41\x4f\x51", hex("4?")) == Words{"\x41", "\x4f"});
    CHECK(in_page("\x41\x4f\x51", hex("?1")).size() == 2 + (k_page - 3));  // the rest of the page is 01
    CHECK(message_of(hex("de a")).find("one digit") != std::string::npos);
    CHECK(message_of(hex("de xx")).find("'x' at position 4") != std::string::npos);
    CHECK(message_of(hex("?? ??")).find("any bytes") != std::string::npos);
}

TEST_CASE("a pattern that cannot be used is refused with the place and the reason") {
    CHECK(message_of(regex("a(b")).find("at index 1") != std::string::npos);
    CHECK(message_of(regex("a*")).find("everywhere") != std::string::npos);
    CHECK(message_of(regex("(a)\\1")) != "");
    CHECK(message_of(text("")).find("empty") != std::string::npos);
    CHECK(message_of({PatternKind::text, "\xff", false, true}).find("not UTF-8") != std::string::npos);
}

TEST_CASE("text is found as UTF-16 of either order, too") {
    std::string content("p\0w\0|\0p\0w", 9);
    CHECK(in_page(content, {PatternKind::text, "pw", false, true}).size() == 2);
    CHECK(in_page(content, text("pw")).empty());
    std::string umlaut("\xe4\0\x3d\xd8\x00\xde", 6);
    CHECK(in_page(umlaut, {PatternKind::text, "ä😀", false, true}).size() == 1);
}

TEST_CASE("a match longer than what is kept together is cut, wherever windows lie") {
    MemoryMaker maker;
    MemoryMaker::map(maker.process(1), k_base, 200, MappingKind::heap);
    std::string content(200 * k_page, '\x01');
    std::fill(content.begin() + 5, content.begin() + 150 * k_page, 'a');
    const uint64_t window = 256u << 10;
    for (uint64_t at : {window - 3, 2 * window - 6}) content.replace(at, 6, "needle");
    maker.pages(1, k_base, content);
    Found found = search(maker.moment(), {regex("a+"), text("needle")});
    size_t needles = 0;
    for (const SearchHit& hit : found.hits) needles += hit.match == "needle";
    CHECK(needles == 2);
    REQUIRE(found.hits.size() > 2);
    CHECK(found.hits[0].cut);
    CHECK(found.hits[0].bytes == PatternSet::k_longest);
}

TEST_CASE("many patterns are looked for in one pass, each by itself") {
    MemoryMaker maker;
    MemoryMaker::map(maker.process(1), k_base, 1, MappingKind::heap);
    maker.pages(1, k_base, make_page("pattern-0017 pattern-0999"));
    std::vector<Pattern> patterns;
    for (int i = 0; i < 1000; ++i) patterns.push_back(text(fmt::format("pattern-{:04}", i)));
    patterns.push_back(regex("pattern-[0-9]*17"));
    Found found = search(maker.moment(), patterns);
    REQUIRE(found.hits.size() == 3);
    CHECK(found.hits[0].pattern == 17);
    CHECK(found.hits[1].pattern == 1000);
    CHECK(found.hits[2].pattern == 999);
}

TEST_CASE("a search that is told to stop does") {
    MemoryMaker maker;
    MemoryMaker::map(maker.process(1), k_base, 1, MappingKind::heap);
    maker.pages(1, k_base, make_page("XXXX"));
    PatternSet set({text("X")});
    images::Findings findings;
    int count = 0;
    ScanSummary summary = search_memory(
        maker.moment(), set, {}, [&](const SearchHit&) { return ++count < 2; }, findings);
    CHECK(count == 2);
    CHECK_FALSE(summary.complete);
}

TEST_CASE("a line of a file of patterns says what kind it is") {
    CHECK(parse_pattern_line("hex:de ad").kind == PatternKind::hex);
    CHECK(parse_pattern_line("regex:a+").source == "a+");
    CHECK(parse_pattern_line("text:hex:1").source == "hex:1");
    CHECK(parse_pattern_line("http://x").kind == PatternKind::text);
}

TEST_CASE("any bytes as a pattern are used or refused, never worse") {
    std::mt19937 random(5);
    const std::string letters = "ab01?[](){}*+.|\\^$x,:- \n\xff\x80";
    std::vector<std::byte> memory(512, std::byte{'a'});
    for (int i = 0; i < 600; ++i) {
        std::string source;
        for (size_t length = random() % 12; source.size() < length;)
            source += letters[random() % letters.size()];
        for (PatternKind kind : {PatternKind::text, PatternKind::hex, PatternKind::regex}) {
            try {
                PatternSet set({{kind, source, random() % 2 == 0, false}});
                PatternSet::Scanner(set).scan(memory, [&](uint32_t, size_t begin, size_t end) {
                    REQUIRE(begin < end);
                    REQUIRE(end <= memory.size());
                });
            } catch (const base::Error& error) {
                CHECK(error.kind() == base::ErrorKind::usage);
            }
        }
    }
}

TEST_CASE("every hit in a fixture is where the raw pages have it") {
    images::DirectorySource source(CPREWIND_FIXTURES "/kitchen");
    images::Checkpoint checkpoint = images::load_checkpoint(source);
    for (bool parallel : {true, false}) {
        Found found = search({checkpoint, source}, {regex("page [0-9]+ of the pattern")}, {}, parallel);
        size_t of_pattern = 0;
        for (const SearchHit& hit : found.hits) of_pattern += hit.address >> 16 == 0x20000000;
        CHECK(of_pattern == 2 * 16);  // the child has a copy
    }
    Found shared = search({checkpoint, source}, {text("first shared page")});
    size_t in_shared = 0;
    for (const SearchHit& hit : shared.hits) {
        if (hit.address != 0x200001000000) continue;
        ++in_shared;
        CHECK(hit.also.size() == 1);
    }
    CHECK(in_shared == 1);
}

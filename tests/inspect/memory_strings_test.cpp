#include "inspect/memory_strings.h"

#include <fmt/format.h>

#include <catch2/catch_test_macros.hpp>
#include <random>

#include "tests/inspect/memory_maker.h"

using namespace cprewind::inspect;
using namespace cprewind::inspect::test;
namespace images = cprewind::images;
using images::MappingKind;

namespace {

constexpr uint64_t k_base = 0x10000;
using Words = std::vector<std::string>;

Words strings_of(const Moment& moment, const StringsOptions& options) {
    Words out;
    images::Findings findings;
    auto add = [&](const StringHit& hit) {
        out.push_back(fmt::format("{}:{:x}:{}", hit.process->pid.value, hit.address, hit.text));
        return true;
    };
    find_strings(moment, options, add, findings);
    return out;
}

// Of memory that is all of `content`.
Words strings_in(std::string content, std::vector<TextEncoding> encodings, size_t least = 4) {
    content.resize((content.size() + k_page - 1) / k_page * k_page, '\xff');
    MemoryMaker maker;
    MemoryMaker::map(maker.process(1), k_base, content.size() / k_page, MappingKind::heap);
    maker.pages(1, k_base, content);
    StringsOptions options;
    options.encodings = std::move(encodings);
    options.least = least;
    Words out;
    for (const std::string& word : strings_of(maker.moment(), options)) out.push_back(word.substr(2));
    return out;
}

std::string widen(const std::string& text, bool big_endian) {
    std::string out;
    for (char c : text) out += big_endian ? std::string{0, c} : std::string{c, 0};
    return out;
}

// As slowly and plainly as possible.
Words plain_strings(const std::string& content, size_t least) {
    Words out;
    std::string run;
    for (size_t i = 0; i <= content.size(); ++i) {
        unsigned char c = i < content.size() ? static_cast<unsigned char>(content[i]) : 0;
        if ((c >= 0x20 && c < 0x7f) || c == '\t') {
            run += static_cast<char>(c);
            continue;
        }
        if (run.size() >= least) out.push_back(fmt::format("{:x}:{}", k_base + i - run.size(), run));
        run.clear();
    }
    return out;
}

}  // namespace

TEST_CASE("strings are whole across pages and mappings, with their address") {
    MemoryMaker maker;
    images::Process& process = maker.process(1);
    MemoryMaker::map(process, k_base, 1, MappingKind::heap);
    MemoryMaker::map(process, k_base + k_page, 1, MappingKind::anonymous);
    maker.pages(1, k_base, make_page("begin", "across "));
    maker.pages(1, k_base + k_page, make_page("mappings", "last"));
    CHECK(strings_of(maker.moment(), {}) ==
          Words{"1:10000:begin", "1:10ff9:across mappings", "1:11ffc:last"});
}

TEST_CASE("strings in shared memory come once") {
    MemoryMaker maker;
    maker.checkpoint.processes.reserve(2);
    MemoryMaker::map(maker.process(1), k_base, 1, MappingKind::anonymous_shared, 7);
    MemoryMaker::map(maker.process(2), k_base, 1, MappingKind::anonymous_shared, 7);
    maker.shared_pages(7, 0, make_page("of both"));
    CHECK(strings_of(maker.moment(), {}) == Words{"1:10000:of both"});
}

TEST_CASE("the fast search for ASCII agrees with the plain one, whatever the bytes") {
    std::mt19937 random(7);
    for (unsigned letters : {96u, 128u, 256u}) {
        std::string content(600u << 10, '\0');
        for (char& c : content) c = static_cast<char>(random() % letters);
        // Longer than a window, and across its end.
        std::fill(content.begin() + 1000, content.begin() + 300000, 'x');
        for (size_t least : {1u, 4u, 9u}) {
            CHECK(strings_in(content, {TextEncoding::ascii}, least) == plain_strings(content, least));
        }
    }
}

TEST_CASE("UTF-8 strings are whole across windows and stop at what is no character") {
    std::string content(2 * (256u << 10), '\x01');
    for (size_t shift : {1, 2, 3, 4, 5}) {
        std::string copy = content;
        copy.replace((256u << 10) - shift, 14, "žluťoučký");
        CHECK(strings_in(copy, {TextEncoding::utf8}) ==
              Words{fmt::format("{:x}:žluťoučký", k_base + (256u << 10) - shift)});
    }
    CHECK(strings_in("grün\xff"
                     "blau\xc3",
                     {TextEncoding::utf8}) == Words{"10000:grün", "10006:blau"});
    CHECK(strings_in("grün", {TextEncoding::ascii}, 2) == Words{"10000:gr"});
    CHECK(strings_in("ab\u202e"
                     "cd",
                     {TextEncoding::utf8})
              .empty());                                                         // turns the writing round
    CHECK(strings_in("\xc0\xaf\xed\xa0\x80", {TextEncoding::utf8}, 1).empty());  // overlong, half of a pair
}

TEST_CASE("UTF-16 strings of either order are found at even and odd places") {
    for (bool big_endian : {false, true}) {
        auto encoding = big_endian ? TextEncoding::utf16be : TextEncoding::utf16le;
        for (size_t place : {0u, 1u, 4093u, (256u << 10) - 4, (256u << 10) - 5}) {
            std::string content(300u << 10, '\x7f');
            content.replace(place, 12, widen("secret", big_endian));
            CHECK(strings_in(content, {encoding}) == Words{fmt::format("{:x}:secret", k_base + place)});
        }
    }
    CHECK(strings_in(std::string("\x3f\x04\x30\x04\x40\x04\x3e\x04\x3b\x04\x4c\x04", 12),
                     {TextEncoding::utf16le}) == Words{"10000:пароль"});
}

TEST_CASE("a string longer than a piece is given in pieces") {
    std::string content((5u << 19), 'y');
    Words found = strings_in(content, {TextEncoding::utf8});
    size_t total = 0;
    for (const std::string& word : found) total += word.size() - word.find(':') - 1;
    CHECK(total == content.size());
    CHECK(found.size() >= 2);
}

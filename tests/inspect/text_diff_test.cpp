#include "inspect/text_diff.h"

#include <catch2/catch_test_macros.hpp>
#include <random>
#include <sstream>

using namespace cprewind::inspect;

namespace {

std::string show(const std::vector<Hunk>& hunks) {
    std::string out;
    for (const Hunk& hunk : hunks) {
        out += "@@ -" + std::to_string(hunk.old_start) + "," + std::to_string(hunk.old_lines) + " +" +
               std::to_string(hunk.new_start) + "," + std::to_string(hunk.new_lines) + " @@\n";
        for (const HunkLine& line : hunk.lines)
            out += line.mark + line.text + (line.no_newline ? "\\" : "") + "\n";
    }
    return out;
}

// What patch(1) does.
std::string apply(const std::string& before, const std::vector<Hunk>& hunks) {
    std::vector<std::string> lines;
    std::string rest = before;
    while (!rest.empty()) {
        size_t end = rest.find('\n');
        lines.push_back(rest.substr(0, end == std::string::npos ? end : end + 1));
        rest.erase(0, lines.back().size());
    }
    std::string out;
    uint64_t at = 0;
    for (const Hunk& hunk : hunks) {
        uint64_t start = hunk.old_lines > 0 ? hunk.old_start - 1 : hunk.old_start;
        while (at < start) out += lines[at++];
        for (const HunkLine& line : hunk.lines) {
            std::string text = line.text + (line.no_newline ? "" : "\n");
            if (line.mark != '+') {
                REQUIRE(at < lines.size());
                CHECK(lines[at++] == text);
            }
            if (line.mark != '-') out += text;
        }
    }
    while (at < lines.size()) out += lines[at++];
    return out;
}

uint64_t edits(const std::vector<Hunk>& hunks) {
    uint64_t count = 0;
    for (const Hunk& hunk : hunks) {
        for (const HunkLine& line : hunk.lines) count += line.mark != ' ';
    }
    return count;
}

}  // namespace

TEST_CASE("one changed line has three lines of context") {
    CHECK(show(diff_lines("1\n2\n3\n4\n5\n6\n7\n8\n9\n", "1\n2\n3\n4\nfive\n6\n7\n8\n9\n")) ==
          "@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n");
}

TEST_CASE("far changes are two hunks, near ones are one") {
    std::string before, far, near;
    for (int i = 0; i < 30; ++i) {
        std::string line = std::to_string(i) + "\n";
        before += line;
        far += i == 2 || i == 20 ? "x\n" : line;
        near += i == 2 || i == 8 ? "x\n" : line;
    }
    CHECK(diff_lines(before, far).size() == 2);
    CHECK(diff_lines(before, near).size() == 1);
    CHECK(diff_lines(before, before).empty());
}

TEST_CASE("an empty side has the line number that diff -u gives it") {
    CHECK(show(diff_lines("", "a\nb\n")) == "@@ -0,0 +1,2 @@\n+a\n+b\n");
    CHECK(show(diff_lines("a\n", "")) == "@@ -1,1 +0,0 @@\n-a\n");
}

TEST_CASE("a newline at the end that came or went is a difference") {
    CHECK(show(diff_lines("a\nb", "a\nb\n")) == "@@ -1,2 +1,2 @@\n a\n-b\\\n+b\n");
}

TEST_CASE(
    "hunks applied to the first text give the second, whatever the texts, and no line is edited in vain") {
    std::mt19937 random(7);
    for (int round = 0; round < 400; ++round) {
        std::string before, after;
        size_t size = random() % 40;
        for (size_t i = 0; i < size; ++i)
            before += std::string(1, static_cast<char>('a' + random() % 4)) + "\n";
        after = before;
        for (int edit = static_cast<int>(random() % 6); edit > 0; --edit) {
            size_t at = after.empty() ? 0 : 2 * (random() % (after.size() / 2));
            if (random() % 2 == 0 && !after.empty()) {
                after.erase(at, 2);
            } else {
                after.insert(at, std::string(1, static_cast<char>('a' + random() % 4)) + "\n");
            }
        }
        if (random() % 5 == 0 && !after.empty()) after.pop_back();
        auto hunks = diff_lines(before, after);
        CHECK(apply(before, hunks) == after);
        CHECK(edits(hunks) <= 8);
    }
}

TEST_CASE("texts with nothing in common cost bounded effort") {
    std::string before, after;
    for (int i = 0; i < 20000; ++i) {
        before += "a" + std::to_string(i) + "\n";
        after += "b" + std::to_string(i) + "\n";
    }
    auto hunks = diff_lines(before, after);
    CHECK(hunks.size() == 1);
    CHECK(apply(before, hunks) == after);
}

TEST_CASE("text is UTF-8 without odd control characters") {
    CHECK(is_text("tab\tand newline\nund Umlaute: \xc3\xa4"));
    CHECK_FALSE(is_text(std::string_view("a\0b", 3)));
    CHECK_FALSE(is_text("\xff\xfe"));
}

TEST_CASE("byte ranges join over small gaps, also from one call to the next") {
    std::vector<ByteRange> ranges;
    add_byte_ranges(ranges, 100, "abcdefghijklmnopqrstuvwxyz", "Xbcdefghijklmnopqrstuvwxyz");
    add_byte_ranges(ranges, 126, "0123456789", "0X23456789");
    REQUIRE(ranges.size() == 2);
    CHECK((ranges[0].start == 100 && ranges[0].end == 101));
    CHECK((ranges[1].start == 127 && ranges[1].end == 128));
    add_byte_ranges(ranges, 130, "aa", "bb");
    REQUIRE(ranges.size() == 2);
    CHECK(ranges[1].end == 132);
}

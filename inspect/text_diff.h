// Differences between two texts, line by line, as diff -u writes them, and between two byte strings as ranges.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace cprewind::inspect {

// One line of a hunk: ' ' in both, '-' in the first only, '+' in the second only. Without the newline.
struct HunkLine {
    char mark = ' ';
    std::string text;
    bool no_newline = false;  // the text's last line, and it does not end
};

// Line numbers count from 1; a side without lines has the number of the line before, as diff -u does.
struct Hunk {
    uint64_t old_start = 0, old_lines = 0;
    uint64_t new_start = 0, new_lines = 0;
    std::vector<HunkLine> lines;
};

// The shortest script (Myers 1986) with three lines of context. Texts that differ in more than some thousand
// lines get one hunk that replaces what lies between their common beginning and end: effort is bounded.
std::vector<Hunk> diff_lines(std::string_view before, std::string_view after);

// UTF-8 without control characters other than those of text.
bool is_text(std::string_view bytes);

// Bytes [start, end) that differ. Ranges less than `gap` bytes apart are one.
struct ByteRange {
    uint64_t start = 0;
    uint64_t end = 0;
};
void add_byte_ranges(std::vector<ByteRange>& ranges, uint64_t offset, std::string_view before,
                     std::string_view after, uint64_t gap = 8);

}  // namespace cprewind::inspect

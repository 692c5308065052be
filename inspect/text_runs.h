// Runs of characters in bytes that are mostly something else: what `strings` looks for, fast.
//
// A run is found in two steps: first 64 bytes at a time by what may be a character, then, where that is not certain,
// character by character. ASCII is a part of UTF-8. Of UTF-16 only the alphabets below U+0700 are looked for (Latin,
// Greek, Cyrillic, Armenian, Hebrew, Arabic): beyond, any two bytes are likely to be something.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace cprewind::inspect {

enum class TextEncoding { ascii, utf8, utf16le, utf16be };
const char* name_of(TextEncoding encoding);

struct TextRun {
    size_t begin = 0;  // in the bytes
    size_t end = 0;
    size_t text = 0;  // where its UTF-8 begins in the text beside it
    size_t text_bytes = 0;
    size_t characters = 0;
    bool ascii = true;      // nothing but ASCII characters
    bool at_begin = false;  // it begins where the part does: what was before may belong to it
    bool at_end = false;    // it ends where the part does: what comes may belong to it
};

struct TextRuns {
    std::vector<TextRun> runs;
    std::string text;

    void clear() {
        runs.clear();
        text.clear();
    }
};

// Adds the runs whose characters begin in [begin, end) of `bytes`; those of fewer than `least` characters only where
// they touch a border. What lies around the part is looked at for characters that lie across its borders. `odd`: UTF-16
// whose units begin at odd places.
void find_text_runs(std::span<const std::byte> bytes, size_t begin, size_t end, TextEncoding encoding,
                    bool odd, size_t least, TextRuns& out);

}  // namespace cprewind::inspect

// Where every byte of a checkpoint went, so that "nothing else is in there" can be said with numbers. Of each file the
// parts below sum up to its size; a test holds that over all fixtures.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "images/image_source.h"

namespace cprewind::images {

struct FileCoverage {
    std::string file;
    std::string kind;  // "CORE"; "" when no image of CRIU has that name
    uint64_t size = 0;
    uint64_t understood = 0;     // in the model: heads, entries, payloads and memory that views are made of
    uint64_t decoded = 0;        // known to the last field, but only `decode` shows it
    uint64_t unread = 0;         // known what it is, not read: other programs' formats
    uint64_t unknown_field = 0;  // fields and enumerators of a newer CRIU
    uint64_t unknown_file = 0;   // no file of CRIU has this name
    uint64_t senseless = 0;  // behind a break in the framing, no message, or memory that no pagemap claims

    FileCoverage& operator+=(const FileCoverage& other);
    uint64_t sum() const;
};

struct Coverage {
    std::vector<FileCoverage> files;  // in the order of the source's list
    FileCoverage total;
};

Coverage cover(const ImageSource& source);

}  // namespace cprewind::images

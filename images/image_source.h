// The seam that a directory, an archive, a stored snapshot, a test and a fuzzer share: named files that can
// be listed, measured and read at any offset. Nothing here writes: evidence is read-only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace cprewind::images {

class ImageFile;

// What is known of two pieces of files without reading them.
struct Likeness {
    enum class Answer {
        unknown,
        equal,
        different,  // each of the pages of 4096 bytes differs from its counterpart, and none is all zero
    };
    uint64_t bytes = 0;  // so many from the beginning the answer is about; 0: nothing is known
    Answer answer = Answer::unknown;
};

class ImageFile {
 public:
    virtual ~ImageFile() = default;
    virtual uint64_t size() const = 0;
    // Fills `out` from `offset`; returns fewer bytes only at the end of the file. Throws base::Error when the
    // medium fails or (stored snapshots) when the bytes are not the ones that were stored. One thread at a
    // time.
    virtual size_t read_at(uint64_t offset, std::span<std::byte> out) const = 0;
    // A hint that this part will be read soon. What can only be read forwards fetches all expected parts in one
    // pass when the first is asked for; elsewhere it does nothing.
    virtual void expect(uint64_t /*offset*/, uint64_t /*size*/) const {}
    // Compares `bytes` from `offset` with those of `other` from `other_offset` by what is known of both.
    // Snapshots of one repository know which of their pages are the same.
    virtual Likeness likeness(uint64_t /*offset*/, const ImageFile& /*other*/, uint64_t /*other_offset*/,
                              uint64_t /*bytes*/) const {
        return {};
    }
};

class ImageSource {
 public:
    virtual ~ImageSource() = default;
    // Names of all files, sorted, relative, with "/" as separator.
    virtual std::vector<std::string> list() const = 0;
    // The file of that name, or null when there is none.
    virtual std::unique_ptr<ImageFile> open(std::string_view name) const = 0;
    // When the file was last written, in nanoseconds since the epoch, where that is known.
    virtual std::optional<int64_t> modified_ns(std::string_view /*name*/) const { return std::nullopt; }
    // What a message calls this source: a path, "web@3".
    virtual std::string describe() const = 0;
};

// The whole of a file that must fit in memory: null when absent; base::Error when larger than `limit`.
std::unique_ptr<std::string> read_whole(const ImageSource& source, std::string_view name,
                                        uint64_t limit = 256u << 20);

}  // namespace cprewind::images

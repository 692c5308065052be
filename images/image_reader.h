// Framing: an image is a head and then entries, each a size and a protobuf message, some with raw bytes
// behind it.
//
//   image  = head entry*            numbers are u32, in the byte order of the machine that was dumped
//   head   = IMG_COMMON magic       since images 1.1; magic alone before, and always in inventory.img
//          | IMG_SERVICE magic      stats-dump, irmap-cache
//   entry  = size payload[size] extra
//
// Nothing in it says how many entries there are: an image that is cut between two entries looks whole from
// here, and is found out by comparing it with other images (checkpoint.cpp, pages.cpp).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "images/finding.h"
#include "images/image_kinds.h"
#include "images/image_source.h"

namespace google::protobuf {
class Message;
}

namespace cprewind::images {

// Numbers, with the path to them ("7", "tc.23"), of fields and enumerators that our schema lacks; the first
// few.
std::vector<std::string> unknown_fields(const google::protobuf::Message& message);

class ImageReader {
 public:
    // Checks the head. Nothing, with a finding, when the image is absent, empty, cut off in the head or
    // another kind of image. `findings` must outlive the reader.
    static std::optional<ImageReader> open(const ImageSource& source, std::string_view name,
                                           const ImageKind& kind, Findings& findings);

    // Reads the next entry into `message`. An entry that is no such message gives a finding and is skipped.
    // False at the end; also, with a finding, where the framing breaks. Fields that we do not know give
    // findings.
    bool next(google::protobuf::Message& message);

    // `size` raw bytes behind the last entry, or nothing and a finding: then the framing is lost and next()
    // ends.
    std::optional<std::span<const std::byte>> extra(uint64_t size);

    // A number behind the last entry, in the byte order of the machine that was dumped; as extra().
    std::optional<uint32_t> extra_number();

    // Like extra(), but the bytes are not looked at and take no memory.
    bool skip(uint64_t size);

    // From here on fields that the schema lacks are the caller's to read and to report.
    void leave_unknown_fields() { reports_unknown_ = false; }

    // Where the last entry began.
    uint64_t entry_offset() const { return entry_offset_; }
    // Behind all that was read so far.
    uint64_t offset() const { return offset_; }
    uint64_t left() const { return size_ - offset_; }
    const std::string& name() const { return name_; }
    // Dumped on a big-endian machine (s390x): the head tells. Messages are the same on all machines; what they
    // copied from the kernel's memory, addresses of sockets, is not.
    bool is_big_endian() const { return big_endian_; }

    // A finding at the last entry. Of one image only the first few are kept, so that garbage does not fill
    // memory.
    void report(FindingKind kind, std::string message);

 private:
    ImageReader(std::unique_ptr<ImageFile> file, std::string_view name, Findings& findings);
    std::optional<std::span<const std::byte>> take(uint64_t size);
    size_t read_window();
    std::optional<uint32_t> take_number();

    std::unique_ptr<ImageFile> file_;
    std::string name_;
    Findings* findings_;
    size_t findings_left_;
    bool reports_unknown_ = true;
    uint64_t size_;
    bool big_endian_ = false;
    uint64_t offset_ = 0;
    uint64_t entry_offset_ = 0;
    std::vector<std::byte> window_;
    uint64_t window_offset_ = 0;
};

// The only entry of an image that has one. False, with a finding, when there is none; more than one is a
// finding.
bool read_single(const ImageSource& source, std::string_view name, const ImageKind& kind,
                 google::protobuf::Message& message, Findings& findings);

// Checks just the head of a file, as open() does.
void check_head(const ImageSource& source, std::string_view name, const ImageKind& kind, Findings& findings);

}  // namespace cprewind::images

// tar as podman, CRI-O, containerd, Docker and GNU tar write it: ustar with pax and GNU extensions.
//
//   member  = [pax or GNU records about the next header]* header[512] data, padded to 512
//   end     = a block of zeros, or the end of the file
//
// Our own, because a source must know at which offset the data of a member lie to read them in place, which
// libarchive does not tell; and because every number in it is hostile. Data are never touched here.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "images/finding.h"
#include "images/image_source.h"
#include "images/layer.h"

namespace cprewind::images {

struct TarMember {
    // Relative, parts without "." and "..", no "/" at the end; "" is the root of the archive.
    std::string path;
    FileType type = FileType::regular;
    bool is_hard_link = false;
    std::string link_target;  // symlinks as written; hard links as a path like `path`
    uint32_t mode = 0;        // permission bits with set-id and sticky
    uint32_t uid = 0;
    uint32_t gid = 0;
    uint64_t rdev = 0;
    int64_t mtime_ns = 0;
    uint64_t size = 0;         // regular files: what the header claims, until settle() has looked
    uint64_t data_offset = 0;  // in the (decoded) file
    std::map<std::string, std::string> xattrs;
};

// Whether `file` begins with a header whose checksum is right.
bool is_tar(const ImageFile& file);

class TarReader {
 public:
    // `name` is what findings call the archive; "" for the evidence as a whole.
    TarReader(std::shared_ptr<const ImageFile> file, std::string name, Findings& findings)
        : file_(std::move(file)), name_(std::move(name)), findings_(findings) {}

    // The next member, or nothing at the end. Members that cannot be used (paths that lead out, types that
    // nobody knows) are skipped with a finding that names them; so is everything behind a broken header.
    std::optional<TarMember> next();

    // Cuts the size of the last member to the bytes that are there, with a finding when some are missing. Apart
    // from next(), because it looks at the last byte: whoever wants the data of a compressed archive reads them
    // first.
    void settle(TarMember& member);

 private:
    struct Records;
    bool read_records(uint64_t size, char type, Records& records);
    std::optional<TarMember> make_member(const char* header, uint64_t size, Records& records);
    void report(FindingKind kind, std::string message);

    std::shared_ptr<const ImageFile> file_;
    std::string name_;
    Findings& findings_;
    uint64_t offset_ = 0;
    size_t findings_left_ = 100;
    bool done_ = false;
};

}  // namespace cprewind::images

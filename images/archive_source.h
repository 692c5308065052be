// Images in a tar archive, read in place: as podman, CRI-O and containerd export them, or anybody packs them.
//
// Opening reads the archive once from end to end (an uncompressed one: only its headers) and notes where each
// member lies. After that an uncompressed archive is read by seeking. A compressed one only goes forward, so
// what is small is kept from the first pass and the rest is decoded again when it is asked for. Nothing is
// written to disk, and memory stays below about 120 MiB whatever the archive holds.
//
// A symbolic link named "parent" leads to the checkpoint that an incremental dump builds on, as in a
// directory; all other links are listed by nobody. Of members with the same name the last counts, as if they
// had been unpacked.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "images/decoded_file.h"
#include "images/finding.h"
#include "images/image_source.h"

namespace cprewind::images {

class ArchiveSource : public ImageSource {
 public:
    // Called for each regular file as the first pass comes to it: the cheapest time to look at its content in a
    // compressed archive. What it is given may be kept, and read later, too.
    using Visitor =
        std::function<void(const std::string& name, const std::shared_ptr<const ImageFile>& content)>;

    // What one archive may take of our memory. An archive within another has to do with less.
    struct Limits {
        int window_log = DecodedFile::k_window_log;
        uint64_t kept_bytes = 24u << 20;
        uint64_t name_bytes = 24u << 20;
    };
    static constexpr Limits k_nested{24, 8u << 20, 16u << 20};

    // Throws base::Error when `file` is no tar archive in a compression that is read. `name` is what findings
    // call it ("" for the evidence itself), `description` what messages do.
    ArchiveSource(std::shared_ptr<const ImageFile> file, std::string name, std::string description,
                  const Visitor& visitor, const Limits& limits);
    ArchiveSource(std::shared_ptr<const ImageFile> file, std::string name, std::string description,
                  const Visitor& visitor = {})
        : ArchiveSource(std::move(file), std::move(name), std::move(description), visitor, Limits{}) {}

    std::vector<std::string> list() const override;
    std::unique_ptr<ImageFile> open(std::string_view name) const override;
    std::string describe() const override { return description_; }

    const Findings& findings() const { return findings_; }
    Compression compression() const { return compression_; }
    std::optional<int64_t> modified_ns(std::string_view name) const override;

 private:
    struct Member {
        uint64_t offset = 0;
        uint64_t size = 0;
        int64_t mtime_ns = 0;
        std::shared_ptr<const std::string> content;  // kept from the first pass
    };
    // False when it gave up before the end.
    bool read_index(const Visitor& visitor);
    void keep(Member& member);
    std::unique_ptr<ImageFile> content_of(const Member& member) const;
    std::string resolve(std::string_view name) const;

    std::shared_ptr<const ImageFile> data_;  // decoded
    std::string name_;
    std::string description_;
    Limits limits_;
    Compression compression_;
    Findings findings_;
    std::map<std::string, Member, std::less<>> members_;
    std::map<std::string, std::string, std::less<>> parent_links_;
    uint64_t kept_bytes_ = 0;
};

}  // namespace cprewind::images

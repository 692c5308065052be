// Images in a directory, as CRIU, runc or Docker leave them.
//
// Read-only, and wary: no symbolic link is followed to a file, only regular files exist. One exception is
// CRIU's own: a directory or a link named "parent" leads to the checkpoint that an incremental dump builds
// on. Its files are opened as "parent/NAME" (and "parent/parent/NAME", …); they are not in list().
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "images/image_source.h"

namespace cprewind::images {

class DirectorySource : public ImageSource {
 public:
    // Throws base::Error when `path` is not a directory that can be read.
    explicit DirectorySource(const std::filesystem::path& path);

    std::vector<std::string> list() const override;
    std::unique_ptr<ImageFile> open(std::string_view name) const override;
    std::optional<int64_t> modified_ns(std::string_view name) const override;
    std::string describe() const override { return path_.string(); }

 private:
    struct Found;
    std::optional<Found> find(std::string_view name) const;

    std::filesystem::path path_;
    base::Fd directory_;
};

}  // namespace cprewind::images

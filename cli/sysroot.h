// Files of a container from a directory that stands for its root (--sysroot).
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "base/fd.h"
#include "images/image_source.h"

namespace cprewind::cli {

class Sysroot {
 public:
    // Errors: io when there is no such directory.
    explicit Sysroot(const std::filesystem::path& root);

    // Up to `size` bytes from `offset` of a regular file; links lead to places below the root only. Nothing when there is
    // no such file.
    std::optional<std::string> read(const std::string& path, uint64_t offset, uint64_t size) const;

    // Likewise, to read from at will.
    std::unique_ptr<images::ImageFile> open(const std::string& path) const;

 private:
    base::Fd open_regular(const std::string& path) const;

    base::Fd root_;
};

}  // namespace cprewind::cli

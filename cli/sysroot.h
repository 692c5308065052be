// Files of a container from a directory that stands for its root (--sysroot).
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "base/fd.h"

namespace cprewind::cli {

class Sysroot {
 public:
    // Errors: io when there is no such directory.
    explicit Sysroot(const std::filesystem::path& root);

    // Up to `size` bytes from `offset` of a regular file; links lead to places below the root only. Nothing when there is
    // no such file.
    std::optional<std::string> read(const std::string& path, uint64_t offset, uint64_t size) const;

 private:
    base::Fd root_;
};

}  // namespace cprewind::cli

// A new file that has its name only when it is complete: written as NAME.part, then linked.
#pragma once

#include <cstdint>
#include <filesystem>

#include "base/fd.h"

namespace cprewind::cli {

class NewFile {
 public:
    // Mode 0600. Errors: failed when something has that name already.
    explicit NewFile(const std::filesystem::path& path);
    ~NewFile();
    NewFile(const NewFile&) = delete;
    NewFile& operator=(const NewFile&) = delete;

    int fd() const { return fd_.get(); }
    // `no` for what can be made again at any time: a file that outlives a power cut need not be complete then.
    enum class Sync { no, yes };
    // Gives it its name; returns its size.
    uint64_t finish(Sync sync);

 private:
    std::filesystem::path path_;
    std::filesystem::path part_;
    base::Fd fd_;
};

}  // namespace cprewind::cli

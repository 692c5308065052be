#include "cli/new_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>

#include "base/error.h"

namespace cprewind::cli {

namespace fs = std::filesystem;

NewFile::NewFile(const fs::path& path) : path_(path), part_(path.string() + ".part") {
    std::error_code ignored;
    if (fs::exists(fs::symlink_status(path_, ignored))) {
        throw base::Error(base::ErrorKind::failed, fmt::format("{} exists already", path_.string()),
                          "name another file, or remove that one");
    }
    fd_ = base::open_file(part_, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW);
}

NewFile::~NewFile() {
    ::unlink(part_.c_str());
}

uint64_t NewFile::finish(Sync sync) {
    if (sync == Sync::yes) base::sync_file(fd_.get(), path_.string());
    // Not rename: that would take the place of a file that has come meanwhile.
    if (::link(part_.c_str(), path_.c_str()) != 0) {
        int e = errno;
        base::throw_errno(e, fmt::format("create {}", path_.string()));
    }
    fs::path directory = path_.parent_path();
    if (sync == Sync::yes) base::sync_directory(directory.empty() ? "." : directory);
    return base::file_size(fd_.get(), path_.string());
}

}  // namespace cprewind::cli

#include "images/open_source.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <tuple>

#include "base/error.h"
#include "base/fd.h"
#include "images/archive_source.h"
#include "images/checkpoint.h"
#include "images/directory_source.h"

namespace cprewind::images {

namespace {

using base::Error;
using base::ErrorKind;
namespace fs = std::filesystem;

// A file of the host, read by seeking.
class DiskFile : public ImageFile {
 public:
    explicit DiskFile(const fs::path& path)
        : name_(path.string()),
          // A FIFO must not make us wait.
          fd_(base::open_file(path, O_RDONLY | O_NONBLOCK)),
          size_(base::file_size(fd_.get(), name_)) {}

    uint64_t size() const override { return size_; }
    size_t read_at(uint64_t offset, std::span<std::byte> out) const override {
        if (offset >= size_) return 0;
        return base::pread_full(fd_.get(), out, offset, name_);
    }

 private:
    std::string name_;
    base::Fd fd_;
    uint64_t size_;
};

}  // namespace

std::unique_ptr<std::string> find_checkpoint(const ImageSource& source) {
    std::unique_ptr<std::string> best;
    auto rank = [](const std::string& prefix) {
        return std::tuple(std::count(prefix.begin(), prefix.end(), '/'), prefix != "checkpoint/", prefix);
    };
    for (const std::string& name : source.list()) {
        size_t slash = name.rfind('/');
        size_t begin = slash == std::string::npos ? 0 : slash + 1;
        std::string_view file = std::string_view(name).substr(begin);
        if (file != "inventory.img" && file != "pstree.img") continue;
        std::string prefix = name.substr(0, begin);
        if (!best || rank(prefix) < rank(*best)) best = std::make_unique<std::string>(std::move(prefix));
    }
    return best;
}

OpenedSource open_source(const fs::path& path) {
    OpenedSource opened;
    std::error_code ignored;
    if (fs::is_directory(path, ignored)) {
        opened.files = std::make_unique<DirectorySource>(path);
        auto prefix = find_checkpoint(*opened.files);
        // Opened by itself, so that its "parent" is followed.
        if (prefix) opened.images = std::make_unique<DirectorySource>(path / *prefix);
    } else {
        if (fs::exists(path, ignored) && !fs::is_regular_file(path, ignored)) {
            throw Error(ErrorKind::unsupported,
                        fmt::format("{} is neither a directory nor a regular file", path.string()));
        }
        auto archive = std::make_unique<ArchiveSource>(std::make_shared<DiskFile>(path), "", path.string());
        opened.findings = archive->findings();
        auto prefix = find_checkpoint(*archive);
        if (prefix) opened.images = std::make_unique<PrefixedSource>(*archive, *prefix);
        opened.files = std::move(archive);
    }
    if (!opened.images) {
        throw Error(ErrorKind::not_found,
                    fmt::format("{} holds no checkpoint: neither inventory.img nor pstree.img is there",
                                path.string()),
                    "name the directory in which CRIU's .img files lie, or an archive of it");
    }
    if (opened.images->open("cipher.img")) {
        throw Error(ErrorKind::unsupported,
                    fmt::format("{} is encrypted (there is a cipher.img), which this version does not read",
                                path.string()),
                    "decrypt it first, with the private key that belongs to it");
    }
    return opened;
}

}  // namespace cprewind::images

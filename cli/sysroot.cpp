#include "cli/sysroot.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/error.h"

namespace cprewind::cli {

namespace {

class FileBelow : public images::ImageFile {
 public:
    FileBelow(base::Fd file, std::string name)
        : file_(std::move(file)), name_(std::move(name)), size_(base::file_size(file_.get(), name_)) {}
    uint64_t size() const override { return size_; }
    size_t read_at(uint64_t offset, std::span<std::byte> out) const override {
        return offset >= size_ ? 0 : base::pread_full(file_.get(), out, offset, name_);
    }

 private:
    base::Fd file_;
    std::string name_;
    uint64_t size_;
};

}  // namespace

Sysroot::Sysroot(const std::filesystem::path& root) : root_(base::open_file(root, O_PATH | O_DIRECTORY)) {}

base::Fd Sysroot::open_regular(const std::string& path) const {
    if (path.find('\0') != std::string::npos) return {};
    open_how how{};
    how.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
    how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
    base::Fd file(static_cast<int>(syscall(SYS_openat2, root_.get(), path.c_str(), &how, sizeof(how))));
    struct stat status {};
    if (!file || fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode)) return {};
    return file;
}

std::optional<std::string> Sysroot::read(const std::string& path, uint64_t offset, uint64_t size) const {
    base::Fd file = open_regular(path);
    if (!file) return std::nullopt;
    std::string bytes(static_cast<size_t>(size), '\0');
    bytes.resize(base::pread_full(file.get(), std::as_writable_bytes(std::span(bytes)), offset, path));
    return bytes;
}

std::unique_ptr<images::ImageFile> Sysroot::open(const std::string& path) const {
    base::Fd file = open_regular(path);
    if (!file) return nullptr;
    return std::make_unique<FileBelow>(std::move(file), path);
}

}  // namespace cprewind::cli

#include "cli/sysroot.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/error.h"

namespace cprewind::cli {

Sysroot::Sysroot(const std::filesystem::path& root) : root_(base::open_file(root, O_PATH | O_DIRECTORY)) {}

std::optional<std::string> Sysroot::read(const std::string& path, uint64_t offset, uint64_t size) const {
    if (path.find('\0') != std::string::npos) return std::nullopt;
    open_how how{};
    how.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
    how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
    base::Fd file(static_cast<int>(syscall(SYS_openat2, root_.get(), path.c_str(), &how, sizeof(how))));
    struct stat status {};
    if (!file || fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode)) return std::nullopt;
    std::string bytes(static_cast<size_t>(size), '\0');
    bytes.resize(base::pread_full(file.get(), std::as_writable_bytes(std::span(bytes)), offset, path));
    return bytes;
}

}  // namespace cprewind::cli

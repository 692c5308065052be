#include "cli/output_tree.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <cerrno>
#include <vector>

#include "base/error.h"
#include "base/text.h"

namespace cprewind::cli {

namespace {

[[noreturn]] void fail(int error, const std::filesystem::path& root, const std::string& path) {
    base::throw_errno(error, fmt::format("write {}/{}", root.string(), base::escape(path)));
}

base::Fd duplicate(int fd) {
    base::Fd copy(fcntl(fd, F_DUPFD_CLOEXEC, 0));
    if (!copy) base::throw_errno(errno, "duplicate a descriptor");
    return copy;
}

}  // namespace

OutputTree::OutputTree(const std::filesystem::path& root) : root_(root) {
    base::make_private_directory(root);
    directory_ = base::open_file(root, O_RDONLY | O_DIRECTORY);
}

base::Fd OutputTree::open_parent(const std::string& path, std::string& last) {
    std::vector<std::string> parts = base::split(path, '/');
    for (const std::string& part : parts) {
        if (part.empty() || part == "." || part == ".." || part.find('\0') != std::string::npos)
            throw base::Error(base::ErrorKind::usage,
                              fmt::format("'{}' is no safe name for a file", base::escape(path)));
    }
    last = parts.back();
    parts.pop_back();
    base::Fd at = duplicate(directory_.get());
    for (const std::string& part : parts) {
        if (mkdirat(at.get(), part.c_str(), 0700) != 0 && errno != EEXIST) fail(errno, root_, path);
        base::Fd next(openat(at.get(), part.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
        if (!next) fail(errno, root_, path);
        at = std::move(next);
    }
    return at;
}

base::Fd OutputTree::create_file(const std::string& path) {
    std::string name;
    base::Fd parent = open_parent(path, name);
    base::Fd file(
        openat(parent.get(), name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!file) fail(errno, root_, path);
    return file;
}

void OutputTree::make_directory(const std::string& path) {
    std::string name;
    base::Fd parent = open_parent(path, name);
    if (mkdirat(parent.get(), name.c_str(), 0700) == 0) return;
    int error = errno;
    struct stat status {};
    bool there = error == EEXIST && fstatat(parent.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0 &&
                 S_ISDIR(status.st_mode);
    if (!there) fail(error, root_, path);
}

}  // namespace cprewind::cli

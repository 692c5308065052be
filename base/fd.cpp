#include "base/fd.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <system_error>

#include "base/error.h"

namespace cprewind::base {
namespace fs = std::filesystem;

Fd& Fd::operator=(Fd&& other) noexcept {
    if (this != &other) {
        reset();
        raw_ = other.release();
    }
    return *this;
}

void Fd::reset() {
    // Linux closes the descriptor even when close() reports EINTR; retrying could close somebody else's.
    if (raw_ >= 0) ::close(std::exchange(raw_, -1));
}

Fd open_file(const fs::path& path, int flags, unsigned mode) {
    for (;;) {
        Fd fd(::open(path.c_str(), flags | O_CLOEXEC, mode));
        if (fd) return fd;
        int e = errno;
        if (e != EINTR) throw_errno(e, fmt::format("open {}", path.string()));
    }
}

size_t pread_full(int fd, std::span<std::byte> out, uint64_t offset, std::string_view name) {
    size_t done = 0;
    while (done < out.size()) {
        ssize_t n = ::pread(fd, out.data() + done, out.size() - done, static_cast<off_t>(offset + done));
        if (n == 0) break;
        if (n < 0) {
            int e = errno;
            if (e == EINTR) continue;
            throw_errno(e, fmt::format("read {}", name));
        }
        done += static_cast<size_t>(n);
    }
    return done;
}

size_t read_full(int fd, std::span<std::byte> out, std::string_view name) {
    size_t done = 0;
    while (done < out.size()) {
        ssize_t n = ::read(fd, out.data() + done, out.size() - done);
        if (n == 0) break;
        if (n < 0) {
            int e = errno;
            if (e == EINTR) continue;
            throw_errno(e, fmt::format("read {}", name));
        }
        done += static_cast<size_t>(n);
    }
    return done;
}

void write_full(int fd, std::span<const std::byte> data, std::string_view name) {
    while (!data.empty()) {
        ssize_t n = ::write(fd, data.data(), data.size());
        if (n < 0) {
            int e = errno;
            if (e == EINTR) continue;
            throw_errno(e, fmt::format("write {}", name));
        }
        data = data.subspan(static_cast<size_t>(n));
    }
}

void pwrite_full(int fd, std::span<const std::byte> data, uint64_t offset, std::string_view name) {
    while (!data.empty()) {
        ssize_t n = ::pwrite(fd, data.data(), data.size(), static_cast<off_t>(offset));
        if (n < 0) {
            int e = errno;
            if (e == EINTR) continue;
            throw_errno(e, fmt::format("write {}", name));
        }
        data = data.subspan(static_cast<size_t>(n));
        offset += static_cast<uint64_t>(n);
    }
}

uint64_t file_size(int fd, std::string_view name) {
    struct stat st {};
    if (::fstat(fd, &st) != 0) throw_errno(errno, fmt::format("stat {}", name));
    return static_cast<uint64_t>(st.st_size);
}

std::string read_file(const fs::path& path, uint64_t limit) {
    Fd fd = open_file(path, O_RDONLY);
    std::string content;
    // Files of /proc say size 0, so the end is found by reading.
    size_t step = static_cast<size_t>(std::min<uint64_t>(file_size(fd.get(), path.string()) + 1, limit + 1));
    step = std::max<size_t>(step, 4096);
    for (;;) {
        size_t before = content.size();
        content.resize(before + step);
        auto room = std::as_writable_bytes(std::span(content.data() + before, step));
        size_t n = read_full(fd.get(), room, path.string());
        content.resize(before + n);
        if (content.size() > limit) {
            throw Error(ErrorKind::failed,
                        fmt::format("{} is larger than the {} bytes expected of it", path.string(), limit));
        }
        if (n < step) return content;
    }
}

void replace_file(const fs::path& path, std::string_view content, unsigned mode) {
    std::string temporary = path.string() + ".XXXXXX";
    Fd fd(::mkostemp(temporary.data(), O_CLOEXEC));
    if (!fd) throw_errno(errno, fmt::format("create a file beside {}", path.string()));
    try {
        write_full(fd.get(), as_bytes(content), temporary);
        if (::fchmod(fd.get(), mode) != 0) throw_errno(errno, fmt::format("set the mode of {}", temporary));
        sync_file(fd.get(), temporary);
        if (::rename(temporary.c_str(), path.c_str()) != 0) {
            throw_errno(errno, fmt::format("rename {} to {}", temporary, path.string()));
        }
    } catch (...) {
        ::unlink(temporary.c_str());
        throw;
    }
    sync_directory(path.has_parent_path() ? path.parent_path() : fs::path("."));
}

void sync_file(int fd, std::string_view name) {
    if (::fsync(fd) != 0) throw_errno(errno, fmt::format("sync {} to disk", name));
}

void sync_directory(const fs::path& path) {
    Fd fd = open_file(path, O_RDONLY | O_DIRECTORY);
    sync_file(fd.get(), path.string());
}

void make_private_directory(const fs::path& path) {
    if (::mkdir(path.c_str(), 0700) == 0) return;
    int e = errno;
    if (e == ENOENT && path.has_parent_path() && path.parent_path() != path) {
        std::error_code ignored;
        fs::create_directories(path.parent_path(), ignored);
        if (::mkdir(path.c_str(), 0700) == 0) return;
        e = errno;
    }
    if (e == EEXIST && fs::is_directory(path)) return;
    throw_errno(e, fmt::format("create directory {}", path.string()));
}

TemporaryDirectory::TemporaryDirectory(const fs::path& parent, std::string_view prefix) {
    std::string name = (parent / (std::string(prefix) + "XXXXXX")).string();
    if (::mkdtemp(name.data()) == nullptr) {
        throw_errno(errno, fmt::format("create a directory in {}", parent.string()));
    }
    path_ = name;
}

TemporaryDirectory& TemporaryDirectory::operator=(TemporaryDirectory&& other) noexcept {
    if (this != &other) {
        remove();
        path_ = std::exchange(other.path_, {});
    }
    return *this;
}

void TemporaryDirectory::remove() noexcept {
    if (path_.empty()) return;
    std::error_code ignored;
    fs::remove_all(path_, ignored);
    path_.clear();
}

}  // namespace cprewind::base

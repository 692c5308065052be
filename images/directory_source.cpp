#include "images/directory_source.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/error.h"
#include "base/text.h"

namespace cprewind::images {

namespace {

// Checkpoints are flat and archives a few levels deep; both limits only stop what was made to exhaust us.
constexpr int k_depth_limit = 16;
constexpr size_t k_files_limit = 1'000'000;
// Chains of incremental dumps are as long as somebody cared to make them, but a link may also lead in a
// circle.
constexpr size_t k_parents_limit = 256;

class DirectoryFile : public ImageFile {
 public:
    DirectoryFile(base::Fd fd, uint64_t size, std::string name)
        : fd_(std::move(fd)), size_(size), name_(std::move(name)) {}

    uint64_t size() const override { return size_; }
    size_t read_at(uint64_t offset, std::span<std::byte> out) const override {
        if (offset >= size_) return 0;
        return base::pread_full(fd_.get(), out, offset, name_);
    }

 private:
    base::Fd fd_;
    uint64_t size_;
    std::string name_;
};

void list_below(int parent, const char* name, const std::string& prefix, int depth,
                std::vector<std::string>& files, std::string_view described) {
    int raw = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (raw < 0) base::throw_errno(errno, fmt::format("read the directory {}/{}", described, prefix));
    DIR* stream = fdopendir(raw);
    if (stream == nullptr) {
        int error = errno;
        close(raw);
        base::throw_errno(error, fmt::format("read the directory {}/{}", described, prefix));
    }
    std::unique_ptr<DIR, int (*)(DIR*)> directory(stream, closedir);
    while (files.size() < k_files_limit) {
        errno = 0;
        dirent* entry = readdir(directory.get());
        if (entry == nullptr) {
            if (errno != 0)
                base::throw_errno(errno, fmt::format("read the directory {}/{}", described, prefix));
            break;
        }
        std::string_view file = entry->d_name;
        if (file == "." || file == ".." || (prefix.empty() && file == "parent")) continue;
        struct stat status;
        if (fstatat(dirfd(directory.get()), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) != 0) continue;
        if (S_ISREG(status.st_mode)) {
            files.push_back(prefix + entry->d_name);
        } else if (S_ISDIR(status.st_mode) && depth < k_depth_limit) {
            list_below(dirfd(directory.get()), entry->d_name, prefix + entry->d_name + "/", depth + 1, files,
                       described);
        }
    }
}

}  // namespace

DirectorySource::DirectorySource(const std::filesystem::path& path)
    : path_(path), directory_(base::open_file(path, O_RDONLY | O_DIRECTORY)) {}

std::vector<std::string> DirectorySource::list() const {
    std::vector<std::string> files;
    list_below(directory_.get(), ".", "", 0, files, path_.string());
    std::sort(files.begin(), files.end());
    return files;
}

struct DirectorySource::Found {
    base::Fd fd;
    struct stat status;
};

std::optional<DirectorySource::Found> DirectorySource::find(std::string_view name) const {
    std::vector<std::string> parts = base::split(name, '/');
    base::Fd holder;
    int directory = directory_.get();
    bool in_parents = true;
    if (parts.size() > k_parents_limit) return std::nullopt;
    for (size_t i = 0; i < parts.size(); ++i) {
        const std::string& part = parts[i];
        if (part.empty() || part == "." || part == ".." || part.find('\0') != std::string::npos)
            return std::nullopt;
        bool last = i + 1 == parts.size();
        in_parents = in_parents && part == "parent";
        int flags = O_RDONLY | O_CLOEXEC;
        if (last) {
            flags |= O_NOFOLLOW | O_NONBLOCK;  // a FIFO must not make us wait
        } else {
            flags |= O_DIRECTORY | (in_parents ? 0 : O_NOFOLLOW);
        }
        base::Fd next(openat(directory, part.c_str(), flags));
        if (!next) {
            int error = errno;
            if (error == ENOENT || error == ENOTDIR || error == ELOOP || error == ENXIO ||
                error == ENAMETOOLONG) {
                return std::nullopt;
            }
            base::throw_errno(error, fmt::format("open {}/{}", path_.string(), name));
        }
        holder = std::move(next);
        directory = holder.get();
    }
    struct stat status;
    if (fstat(holder.get(), &status) != 0) {
        base::throw_errno(errno, fmt::format("examine {}/{}", path_.string(), name));
    }
    if (!S_ISREG(status.st_mode)) return std::nullopt;
    return Found{std::move(holder), status};
}

std::unique_ptr<ImageFile> DirectorySource::open(std::string_view name) const {
    auto found = find(name);
    if (!found) return nullptr;
    std::string described = fmt::format("{}/{}", path_.string(), name);
    return std::make_unique<DirectoryFile>(std::move(found->fd), static_cast<uint64_t>(found->status.st_size),
                                           std::move(described));
}

std::optional<int64_t> DirectorySource::modified_ns(std::string_view name) const {
    auto found = find(name);
    if (!found) return std::nullopt;
    return int64_t{found->status.st_mtim.tv_sec} * 1'000'000'000 + found->status.st_mtim.tv_nsec;
}

}  // namespace cprewind::images

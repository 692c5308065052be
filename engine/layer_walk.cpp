#include "engine/layer_walk.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <memory>
#include <vector>

#include "base/error.h"
#include "base/text.h"

namespace cprewind::engine {
using base::Fd;
using images::FileType;
using images::LayerEntry;

namespace {

// Things a running container does between our two looks at a name.
bool is_gone(int error_number) {
    return error_number == ENOENT || error_number == ENOTDIR || error_number == ELOOP ||
           error_number == ESTALE;
}

// openat2 keeps the whole resolution inside the layer and free of links; glibc 2.36 has no wrapper.
Fd open_beneath(int layer, const std::string& path) {
    open_how how{};
    how.flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC | O_NOATIME;
    how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
    const char* name = path.empty() ? "." : path.c_str();
    long raw = 0;
    do {
        raw = ::syscall(SYS_openat2, layer, name, &how, sizeof how);
        // EAGAIN: a rename somewhere on the system made the kernel unsure about "..", says openat2(2): try
        // again.
    } while (raw < 0 && (errno == EINTR || errno == EAGAIN));
    return Fd(static_cast<int>(raw));
}

struct CloseDirectory {
    void operator()(DIR* directory) const { ::closedir(directory); }
};

std::vector<std::string> names_in(Fd fd, const std::string& path) {
    std::unique_ptr<DIR, CloseDirectory> directory(::fdopendir(fd.get()));
    if (!directory) base::throw_errno(errno, fmt::format("list {}", shown(path)));
    fd.release();
    std::vector<std::string> names;
    for (;;) {
        errno = 0;
        const dirent* next = ::readdir(directory.get());
        if (next == nullptr) break;
        std::string name = next->d_name;
        if (name != "." && name != "..") names.push_back(std::move(name));
    }
    if (errno != 0 && !is_gone(errno)) base::throw_errno(errno, fmt::format("list {}", shown(path)));
    return names;
}

FileType type_of(mode_t mode) {
    switch (mode & S_IFMT) {
        case S_IFDIR:
            return FileType::directory;
        case S_IFLNK:
            return FileType::symlink;
        case S_IFCHR:
            return FileType::character_device;
        case S_IFBLK:
            return FileType::block_device;
        case S_IFIFO:
            return FileType::fifo;
        case S_IFSOCK:
            return FileType::socket;
        default:
            return FileType::regular;
    }
}

void take_times(LayerEntry& entry, const struct stat& st) {
    entry.mtime_ns = nanoseconds(st.st_mtim);
    entry.ctime_ns = nanoseconds(st.st_ctim);
    if (S_ISREG(st.st_mode)) entry.size = static_cast<uint64_t>(st.st_size);
}

std::string read_link(int handle, const std::string& path) {
    std::string target(PATH_MAX, '\0');
    ssize_t n = ::readlinkat(handle, "", target.data(), target.size());
    if (n < 0) base::throw_errno(errno, fmt::format("read the symbolic link {}", shown(path)));
    target.resize(static_cast<size_t>(n));
    return target;
}

// Calls `get(buffer, size)` with a buffer that fits, although what is read may grow in between.
template <typename Get>
std::optional<std::string> read_growing(Get get, const std::string& what) {
    for (;;) {
        ssize_t size = get(nullptr, 0);
        if (size == 0) return std::string();
        std::string value(size > 0 ? static_cast<size_t>(size) : 0, '\0');
        if (size > 0) size = get(value.data(), value.size());
        if (size >= 0) {
            value.resize(static_cast<size_t>(size));
            return value;
        }
        int e = errno;
        if (e == ERANGE) continue;
        if (e == ENODATA || e == ENOTSUP) return std::nullopt;
        base::throw_errno(e, what);
    }
}

}  // namespace

Fd open_layer(const std::filesystem::path& layer) {
    return base::open_file(layer, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
}

Fd open_directory(int layer, const std::string& path) {
    if (path.size() >= PATH_MAX) {
        throw base::Error(
            base::ErrorKind::unsupported,
            fmt::format("the writable layer holds a directory whose path has {} bytes; at most {} work",
                        path.size(), PATH_MAX - 1));
    }
    Fd fd = open_beneath(layer, path);
    if (fd) return fd;
    int e = errno;
    base::throw_errno(is_gone(e) ? ENOENT : e,
                      fmt::format("open the directory '{}' of the layer", shown(path)));
}

void walk_layer(int layer, const std::function<void(const Met&)>& visit) {
    Met root{.parent = layer, .name = ".", .path = ""};
    if (::fstat(layer, &root.st) != 0) base::throw_errno(errno, "stat the writable layer");
    visit(root);
    // Directories still to be listed, by path: a stack of descriptors would run out in a deep tree.
    std::vector<std::string> pending = {""};
    while (!pending.empty()) {
        std::string directory = std::move(pending.back());
        pending.pop_back();
        Fd fd;
        try {
            fd = open_directory(layer, directory);
        } catch (const base::Error& e) {
            if (e.kind() == base::ErrorKind::not_found) continue;
            throw;
        }
        Fd listed(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 0));
        if (!listed) base::throw_errno(errno, "duplicate a descriptor");
        for (std::string& name : names_in(std::move(listed), directory)) {
            Met met{.parent = fd.get(), .name = std::move(name), .path = ""};
            met.path = directory.empty() ? met.name : directory + "/" + met.name;
            if (::fstatat(met.parent, met.name.c_str(), &met.st, AT_SYMLINK_NOFOLLOW) != 0) {
                if (is_gone(errno)) continue;
                base::throw_errno(errno, fmt::format("stat {}", shown(met.path)));
            }
            if (S_ISDIR(met.st.st_mode)) pending.push_back(met.path);
            visit(met);
        }
    }
}

std::optional<Held> hold(const Met& met) {
    Held held;
    held.handle = Fd(::openat(met.parent, met.name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
    struct stat st {};
    if (!held.handle || ::fstat(held.handle.get(), &st) != 0) {
        if (is_gone(errno)) return std::nullopt;
        base::throw_errno(errno, fmt::format("open {}", shown(met.path)));
    }
    if (st.st_ino != met.st.st_ino) return std::nullopt;
    LayerEntry& entry = held.entry;
    entry.path = met.path;
    entry.type = type_of(st.st_mode);
    entry.mode = st.st_mode & 07777;
    entry.uid = st.st_uid;
    entry.gid = st.st_gid;
    entry.inode = st.st_ino;
    take_times(entry, st);
    if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode)) entry.rdev = st.st_rdev;
    if (S_ISLNK(st.st_mode)) entry.link_target = read_link(held.handle.get(), met.path);
    entry.xattrs = read_xattrs(held.handle.get(), met.path);
    return held;
}

void refresh(Held& held) {
    struct stat st {};
    if (::fstat(held.handle.get(), &st) != 0) {
        base::throw_errno(errno, fmt::format("stat {}", shown(held.entry.path)));
    }
    take_times(held.entry, st);
}

Fd open_held(const Held& held) {
    CPREWIND_CHECK(held.entry.type == FileType::regular);
    return base::open_file(handle_path(held.handle.get()), O_RDONLY | O_NOATIME);
}

std::string handle_path(int handle) {
    return fmt::format("/proc/self/fd/{}", handle);
}

std::map<std::string, std::string> read_xattrs(int handle, const std::string& name) {
    std::string path = handle_path(handle);
    std::string what = fmt::format("read the extended attributes of {}", shown(name));
    auto list =
        read_growing([&](char* out, size_t size) { return ::listxattr(path.c_str(), out, size); }, what);
    std::map<std::string, std::string> xattrs;
    if (!list || list->empty()) return xattrs;
    for (const std::string& key : base::split(std::string_view(*list).substr(0, list->size() - 1), '\0')) {
        auto value = read_growing(
            [&](char* out, size_t size) { return ::getxattr(path.c_str(), key.c_str(), out, size); }, what);
        if (value) xattrs[key] = std::move(*value);
    }
    return xattrs;
}

int64_t nanoseconds(const timespec& time) {
    return time.tv_sec * 1'000'000'000 + time.tv_nsec;
}

std::string parent_of(const std::string& path) {
    size_t slash = path.rfind('/');
    return slash == std::string::npos ? "" : path.substr(0, slash);
}

std::string name_in_parent(const std::string& path) {
    return path.empty() ? "." : path.substr(path.rfind('/') + 1);  // npos + 1 is 0
}

std::string shown(const std::string& path) {
    return path.empty() ? "the layer" : base::escape(path);
}

}  // namespace cprewind::engine

// Making a layer what it was, by differences: files that are what they should be keep their inode and their
// place on disk, and a rewind of a few changed files costs a few files.
//
// First the two trees are compared into a list of steps, then the steps are done:
//   1  what the target does not have goes, children before their directory; so does everything below a
//   directory
//      that is to become something else
//   2  in the target's order (a directory before what it holds) entries are made, replaced, or given their
//   metadata;
//      anything but a directory is made beside under a temporary name, complete with metadata, and renamed
//   3  directories get their times, children before parents, for 1 and 2 have changed them
#include "engine/layer_io.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <unordered_map>
#include <unordered_set>

#include "base/error.h"
#include "engine/layer_compare.h"
#include "engine/layer_walk.h"

namespace cprewind::engine {
using base::Error;
using base::ErrorKind;
using base::Fd;
using images::FileType;
using images::LayerEntry;
using images::LayerExtent;
using images::LayerTree;

namespace {

constexpr size_t k_copy_buffer = 1u << 20;

mode_t type_bits(FileType type) {
    switch (type) {
        case FileType::regular:
            return S_IFREG;
        case FileType::directory:
            return S_IFDIR;
        case FileType::symlink:
            return S_IFLNK;
        case FileType::character_device:
            return S_IFCHR;
        case FileType::block_device:
            return S_IFBLK;
        case FileType::fifo:
            return S_IFIFO;
        case FileType::socket:
            return S_IFSOCK;
    }
    return S_IFREG;
}

// The step's place: its directory, opened, and its name there.
class Places {
 public:
    explicit Places(int layer) : layer_(layer) {}

    // Valid until the next call.
    int parent(const std::string& path) {
        std::string wanted = parent_of(path);
        if (!fd_ || wanted != open_path_) {
            fd_ = open_directory(layer_, wanted);
            open_path_ = std::move(wanted);
        }
        return fd_.get();
    }

 private:
    int layer_;
    Fd fd_;
    std::string open_path_;
};

class Restorer {
 public:
    Restorer(int layer, const images::ImageFile* data) : layer_(layer), places_(layer), data_(data) {}

    void remove(const LayerEntry& entry) {
        int flags = entry.type == FileType::directory ? AT_REMOVEDIR : 0;
        if (::unlinkat(places_.parent(entry.path), name_in_parent(entry.path).c_str(), flags) != 0) {
            fail("remove", entry);
        }
    }

    // Makes `entry` anew; `current` is what is there now, or null.
    void make(const LayerEntry& entry, const LayerEntry* current) {
        // A rename replaces one non-directory by another; a directory has to go first, or make room.
        bool either_directory =
            entry.type == FileType::directory || (current != nullptr && current->type == FileType::directory);
        if (current != nullptr && either_directory) remove(*current);
        int parent = places_.parent(entry.path);
        std::string name = name_in_parent(entry.path);
        if (entry.type == FileType::directory) {
            if (::mkdirat(parent, name.c_str(), 0700) != 0) fail("make", entry);
            set_metadata(parent, name, entry);
            return;
        }
        std::string temporary = make_temporary(parent, entry);
        try {
            if (entry.hard_link_to.empty()) set_metadata(parent, temporary, entry);
            if (::renameat(parent, temporary.c_str(), parent, name.c_str()) != 0) fail("put in place", entry);
        } catch (...) {
            ::unlinkat(parent, temporary.c_str(), 0);
            throw;
        }
    }

    void set_metadata(const LayerEntry& entry) {
        set_metadata(places_.parent(entry.path), name_in_parent(entry.path), entry);
    }

    void set_times_if_different(const LayerEntry& entry) {
        int parent = places_.parent(entry.path);
        std::string name = name_in_parent(entry.path);
        struct stat st {};
        if (::fstatat(parent, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) fail("stat", entry);
        if (nanoseconds(st.st_mtim) != entry.mtime_ns) set_times(parent, name, entry);
    }

 private:
    [[noreturn]] void fail(const char* verb, const LayerEntry& entry) const {
        int e = errno;
        if (e == EPERM) {
            // We are root, so this is no matter of permissions.
            throw Error(ErrorKind::permission,
                        fmt::format("cannot {} '{}' in the layer: the file system does not permit it", verb,
                                    shown(entry.path)),
                        "it may be marked immutable or append-only: see lsattr, and chattr -i -a");
        }
        base::throw_errno(e, fmt::format("{} '{}' in the layer", verb, shown(entry.path)));
    }

    std::string make_temporary(int parent, const LayerEntry& entry) {
        for (;;) {
            std::string name = fmt::format(".cprewind-{}-{}", ::getpid(), ++temporaries_);
            int status = 0;
            if (!entry.hard_link_to.empty()) {
                Fd from = open_directory(layer_, parent_of(entry.hard_link_to));
                std::string leader = name_in_parent(entry.hard_link_to);
                status = ::linkat(from.get(), leader.c_str(), parent, name.c_str(), 0);
            } else if (entry.type == FileType::regular) {
                Fd file(::openat(parent, name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW,
                                 0600));
                if (file) return write_data(std::move(file), parent, name, entry);
                status = -1;
            } else if (entry.type == FileType::symlink) {
                status = ::symlinkat(entry.link_target.c_str(), parent, name.c_str());
            } else {
                status = ::mknodat(parent, name.c_str(), type_bits(entry.type) | 0600, entry.rdev);
            }
            if (status == 0) return name;
            // Left by one who died; it goes when the layer is next compared.
            if (errno != EEXIST) fail("make", entry);
        }
    }

    std::string write_data(Fd file, int parent, const std::string& name, const LayerEntry& entry) {
        try {
            for (const LayerExtent& extent : entry.extents) copy_extent(file.get(), extent, entry);
            if (::ftruncate(file.get(), static_cast<off_t>(entry.size)) != 0) fail("set the size of", entry);
        } catch (...) {
            ::unlinkat(parent, name.c_str(), 0);
            throw;
        }
        return name;
    }

    void copy_extent(int file, const LayerExtent& extent, const LayerEntry& entry) {
        buffer_.resize(k_copy_buffer);
        for (uint64_t done = 0; done < extent.length;) {
            auto part = std::span(buffer_).first(
                static_cast<size_t>(std::min<uint64_t>(extent.length - done, buffer_.size())));
            size_t n = data_->read_at(extent.data_offset + done, part);
            if (n != part.size()) {
                throw Error(ErrorKind::damaged,
                            fmt::format("the data of '{}' end at byte {} of {}", shown(entry.path),
                                        extent.file_offset + done + n, entry.size));
            }
            base::pwrite_full(file, part, extent.file_offset + done, shown(entry.path));
            done += n;
        }
    }

    // Owner before mode and attributes, for a change of owner clears set-id bits and capabilities; attributes
    // before mode, for an ACL is both.
    void set_metadata(int parent, const std::string& name, const LayerEntry& entry) {
        if (::fchownat(parent, name.c_str(), entry.uid, entry.gid, AT_SYMLINK_NOFOLLOW) != 0) {
            fail("set the owner of", entry);
        }
        Fd handle(::openat(parent, name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
        if (!handle) fail("open", entry);
        set_xattrs(handle.get(), entry);
        if (entry.type != FileType::symlink &&
            ::chmod(handle_path(handle.get()).c_str(), static_cast<mode_t>(entry.mode)) != 0) {
            fail("set the mode of", entry);
        }
        set_times(parent, name, entry);
    }

    void set_xattrs(int handle, const LayerEntry& entry) {
        std::string path = handle_path(handle);
        auto current = read_xattrs(handle, entry.path);
        for (const auto& [key, value] : current) {
            if (!entry.xattrs.contains(key) && ::removexattr(path.c_str(), key.c_str()) != 0) {
                fail("remove an attribute of", entry);
            }
        }
        for (const auto& [key, value] : entry.xattrs) {
            auto old = current.find(key);
            if (old != current.end() && old->second == value) continue;
            if (::setxattr(path.c_str(), key.c_str(), value.data(), value.size(), 0) != 0) {
                fail("set an attribute of", entry);
            }
        }
    }

    void set_times(int parent, const std::string& name, const LayerEntry& entry) {
        int64_t seconds = entry.mtime_ns / 1'000'000'000;
        int64_t rest = entry.mtime_ns % 1'000'000'000;
        if (rest < 0) seconds -= 1, rest += 1'000'000'000;
        timespec times[2] = {{.tv_sec = 0, .tv_nsec = UTIME_OMIT}, {.tv_sec = seconds, .tv_nsec = rest}};
        if (::utimensat(parent, name.c_str(), times, AT_SYMLINK_NOFOLLOW) != 0)
            fail("set the time of", entry);
    }

    int layer_;
    Places places_;
    const images::ImageFile* data_;
    uint64_t temporaries_ = 0;
    std::vector<std::byte> buffer_;
};

}  // namespace

std::vector<LayerChange> plan_layer_restore(const std::filesystem::path& layer, const LayerTree& target) {
    Fd root = open_layer(layer);
    check_layer_tree(target, std::nullopt);
    LayerTree current = scan_layer(root.get());
    std::vector<LayerChange> changes;
    for (const LayerStep& step : compare_layer(root.get(), current, target)) changes.push_back(step.change());
    return changes;
}

std::vector<LayerChange> restore_layer(const std::filesystem::path& layer, const LayerTree& target,
                                       const images::ImageFile* data) {
    Fd root = open_layer(layer);
    check_layer_tree(target, data != nullptr ? data->size() : 0);
    LayerTree current = scan_layer(root.get());
    std::vector<LayerChange> changes;
    Restorer restorer(root.get(), data);
    for (const LayerStep& step : compare_layer(root.get(), current, target)) {
        switch (step.kind) {
            case LayerChange::Kind::remove:
                restorer.remove(*step.current);
                break;
            case LayerChange::Kind::create:
            case LayerChange::Kind::replace:
                restorer.make(*step.target, step.current);
                break;
            case LayerChange::Kind::metadata:
                restorer.set_metadata(*step.target);
                break;
        }
        changes.push_back(step.change());
    }
    for (auto entry = target.entries.rbegin(); entry != target.entries.rend(); ++entry) {
        if (entry->type == FileType::directory) restorer.set_times_if_different(*entry);
    }
    return changes;
}

}  // namespace cprewind::engine

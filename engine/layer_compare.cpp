#include "engine/layer_compare.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string_view>
#include <unordered_map>

#include "base/digest.h"
#include "base/error.h"
#include "engine/layer_walk.h"

namespace cprewind::engine {
using base::Error;
using base::ErrorKind;
using base::Fd;
using images::FileType;
using images::LayerEntry;
using images::LayerExtent;
using images::LayerTree;
using Kind = LayerChange::Kind;

namespace {

constexpr size_t k_read_buffer = 1u << 20;

using Index = std::unordered_map<std::string_view, const LayerEntry*>;

Index index_of(const LayerTree& tree) {
    Index index;
    index.reserve(tree.entries.size());
    for (const LayerEntry& entry : tree.entries) index.emplace(entry.path, &entry);
    return index;
}

const LayerEntry* find(const Index& index, std::string_view path) {
    auto found = index.find(path);
    return found == index.end() ? nullptr : found->second;
}

// The content of a file of the layer, holes as zeros: a target has no digest where that would be too much
// zeros.
base::Digest digest_of_file(int layer, const LayerEntry& entry) {
    Fd parent = open_directory(layer, parent_of(entry.path));
    Met met{.parent = parent.get(), .name = name_in_parent(entry.path), .path = entry.path};
    met.st.st_ino = entry.inode;
    auto held = hold(met);
    if (!held || held->entry.type != FileType::regular) {
        throw Error(ErrorKind::busy,
                    fmt::format("'{}' of the layer changed while it was compared", shown(entry.path)),
                    "is the container stopped?");
    }
    Fd file = open_held(*held);
    base::Hasher hasher;
    std::vector<std::byte> buffer(k_read_buffer);
    for (uint64_t at = 0;;) {
        size_t n = base::pread_full(file.get(), buffer, at, shown(entry.path));
        hasher.update(std::span(buffer).first(n));
        at += n;
        if (n < buffer.size()) return hasher.finish();
    }
}

class Comparison {
 public:
    Comparison(int layer, const LayerTree& current, const LayerTree& target)
        : layer_(layer),
          current_(current),
          target_(target),
          now_(index_of(current)),
          wanted_(index_of(target)) {}

    std::vector<LayerStep> steps() {
        for (auto entry = current_.entries.rbegin(); entry != current_.entries.rend(); ++entry) {
            if (find(wanted_, entry->path) == nullptr) steps_.push_back({Kind::remove, &*entry, nullptr});
        }
        for (const LayerEntry& entry : target_.entries) compare(entry);
        return std::move(steps_);
    }

 private:
    void compare(const LayerEntry& target) {
        const LayerEntry* current = find(now_, target.path);
        if (current == nullptr) {
            steps_.push_back({Kind::create, nullptr, &target});
        } else if (!is_same_object(*current, target)) {
            steps_.push_back({Kind::replace, current, &target});
        } else {
            if (target.type != FileType::directory) claimed_[current->inode] = &target;
            if (target.hard_link_to.empty() && !is_same_metadata(*current, target)) {
                steps_.push_back({Kind::metadata, current, &target});
            }
        }
    }

    // Whether what is there can stay, given its metadata. The claims make the groups of hard links come out
    // right: an inode stays with the first entry that keeps it, the names that belong to it stay, all others
    // are made anew.
    bool is_same_object(const LayerEntry& current, const LayerEntry& target) {
        if (current.type != target.type) return false;
        if (target.type == FileType::directory) return true;
        auto claim = claimed_.find(current.inode);
        if (!target.hard_link_to.empty()) {
            return claim != claimed_.end() && leader_of(*claim->second) == target.hard_link_to;
        }
        if (claim != claimed_.end()) return false;
        if (target.type == FileType::symlink) return current.link_target == target.link_target;
        if (target.type == FileType::regular) return is_same_content(current, target);
        return current.rdev == target.rdev;
    }

    static const std::string& leader_of(const LayerEntry& entry) {
        return entry.hard_link_to.empty() ? entry.path : entry.hard_link_to;
    }

    bool is_same_content(const LayerEntry& current, const LayerEntry& target) const {
        if (current.size != target.size) return false;
        // LayerCapture::finish left inode and ctime only where they prove it.
        bool proven = target.inode != 0 && target.ctime_ns != 0 && current.inode == target.inode &&
                      current.ctime_ns == target.ctime_ns && current.mtime_ns == target.mtime_ns;
        return proven || (target.digest && digest_of_file(layer_, current) == *target.digest);
    }

    static bool is_same_metadata(const LayerEntry& current, const LayerEntry& target) {
        return (current.mode == target.mode || target.type == FileType::symlink) &&
               current.uid == target.uid && current.gid == target.gid &&
               current.mtime_ns == target.mtime_ns && current.xattrs == target.xattrs;
    }

    int layer_;
    const LayerTree& current_;
    const LayerTree& target_;
    Index now_;
    Index wanted_;
    std::unordered_map<uint64_t, const LayerEntry*> claimed_;  // inode -> entry of the target that keeps it
    std::vector<LayerStep> steps_;
};

[[noreturn]] void damaged(const LayerEntry& entry, const char* what) {
    throw Error(ErrorKind::damaged,
                fmt::format("the snapshot's tree of files has an entry '{}' {}", shown(entry.path), what),
                "nothing was changed; `cprewind verify` checks the snapshot");
}

void check_extents(const LayerEntry& entry, std::optional<uint64_t> data_size) {
    if (entry.size > INT64_MAX) damaged(entry, "that is larger than any file");
    uint64_t at = 0;
    for (const LayerExtent& extent : entry.extents) {
        if (extent.file_offset < at || extent.file_offset > entry.size ||
            extent.length > entry.size - extent.file_offset) {
            damaged(entry, "with data outside the file");
        }
        at = extent.file_offset + extent.length;
        if (data_size &&
            (extent.data_offset > *data_size || extent.length > *data_size - extent.data_offset)) {
            damaged(entry, "with data that the snapshot does not hold");
        }
    }
}

bool is_name(std::string_view name) {
    return !name.empty() && name != "." && name != ".." && name.find('\0') == name.npos;
}

}  // namespace

LayerChange LayerStep::change() const {
    const LayerEntry& entry = target != nullptr ? *target : *current;
    LayerChange change{.kind = kind, .path = entry.path, .bytes = 0};
    if (kind == Kind::create || kind == Kind::replace) {
        for (const LayerExtent& extent : entry.extents) change.bytes += extent.length;
    }
    return change;
}

LayerTree scan_layer(int layer) {
    LayerTree tree;
    walk_layer(layer, [&tree](const Met& met) {
        if (auto held = hold(met)) tree.entries.push_back(std::move(held->entry));
    });
    std::sort(tree.entries.begin(), tree.entries.end(), [](auto& a, auto& b) { return a.path < b.path; });
    return tree;
}

void check_layer_tree(const LayerTree& tree, std::optional<uint64_t> data_size) {
    if (tree.entries.empty() || !tree.entries[0].path.empty() ||
        tree.entries[0].type != FileType::directory) {
        throw Error(ErrorKind::damaged, "the snapshot's tree of files does not begin with its root",
                    "nothing was changed; `cprewind verify` checks the snapshot");
    }
    Index seen;
    const LayerEntry* before = nullptr;
    for (const LayerEntry& entry : tree.entries) {
        if (before != nullptr) {
            if (entry.path <= before->path) damaged(entry, "out of order");
            const LayerEntry* parent = find(seen, parent_of(entry.path));
            bool rooted = entry.path[0] != '/' && is_name(name_in_parent(entry.path));
            if (!rooted || parent == nullptr || parent->type != FileType::directory) {
                damaged(entry, "in no directory");
            }
        }
        if (!entry.hard_link_to.empty()) {
            const LayerEntry* leader = find(seen, entry.hard_link_to);
            if (leader == nullptr || leader->type != entry.type || entry.type == FileType::directory ||
                !leader->hard_link_to.empty() || !entry.extents.empty()) {
                damaged(entry, "that is a hard link to nothing of its kind");
            }
        }
        bool no_path = entry.link_target.empty() || entry.link_target.find('\0') != std::string::npos;
        if (entry.type == FileType::symlink && no_path) damaged(entry, "that is a symbolic link to no path");
        check_extents(entry, data_size);
        seen.emplace(entry.path, &entry);
        before = &entry;
    }
}

std::vector<LayerStep> compare_layer(int layer, const LayerTree& current, const LayerTree& target) {
    return Comparison(layer, current, target).steps();
}

}  // namespace cprewind::engine

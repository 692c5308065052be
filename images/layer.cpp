#include "images/layer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <unordered_map>

#include "images/proto/layer.pb.h"

namespace cprewind::images {

namespace {

// Written into each tree. 1: the first.
constexpr uint32_t k_version = 1;

stored::LayerEntry::Type stored_type(FileType type) {
    switch (type) {
        case FileType::regular:
            return stored::LayerEntry::REGULAR;
        case FileType::directory:
            return stored::LayerEntry::DIRECTORY;
        case FileType::symlink:
            return stored::LayerEntry::SYMLINK;
        case FileType::character_device:
            return stored::LayerEntry::CHARACTER_DEVICE;
        case FileType::block_device:
            return stored::LayerEntry::BLOCK_DEVICE;
        case FileType::fifo:
            return stored::LayerEntry::FIFO;
        case FileType::socket:
            return stored::LayerEntry::SOCKET;
    }
    return stored::LayerEntry::NONE;
}

std::optional<FileType> type_of(stored::LayerEntry::Type type) {
    switch (type) {
        case stored::LayerEntry::REGULAR:
            return FileType::regular;
        case stored::LayerEntry::DIRECTORY:
            return FileType::directory;
        case stored::LayerEntry::SYMLINK:
            return FileType::symlink;
        case stored::LayerEntry::CHARACTER_DEVICE:
            return FileType::character_device;
        case stored::LayerEntry::BLOCK_DEVICE:
            return FileType::block_device;
        case stored::LayerEntry::FIFO:
            return FileType::fifo;
        case stored::LayerEntry::SOCKET:
            return FileType::socket;
        case stored::LayerEntry::NONE:
            break;
    }
    return std::nullopt;
}

// "a/b/c": no part is empty, "." or "..".
bool is_plain_path(std::string_view path) {
    if (path.empty() || path.find('\0') != std::string_view::npos) return false;
    size_t begin = 0;
    for (;;) {
        size_t end = std::min(path.find('/', begin), path.size());
        std::string_view part = path.substr(begin, end - begin);
        if (part.empty() || part == "." || part == "..") return false;
        if (end == path.size()) return true;
        begin = end + 1;
    }
}

std::string parent_of(const std::string& path) {
    size_t slash = path.rfind('/');
    return slash == std::string::npos ? std::string() : path.substr(0, slash);
}

LayerEntry make_entry(const stored::LayerEntry& raw, FileType type) {
    LayerEntry entry;
    entry.path = raw.path();
    entry.type = type;
    entry.mode = raw.mode();
    entry.uid = raw.uid();
    entry.gid = raw.gid();
    entry.rdev = raw.rdev();
    entry.mtime_ns = raw.mtime_ns();
    entry.ctime_ns = raw.ctime_ns();
    entry.inode = raw.inode();
    entry.size = raw.size();
    entry.link_target = raw.link_target();
    entry.hard_link_to = raw.hard_link_to();
    for (const auto& xattr : raw.xattrs()) entry.xattrs[xattr.name()] = xattr.value();
    for (const auto& extent : raw.extents()) {
        entry.extents.push_back({extent.file_offset(), extent.data_offset(), extent.length()});
    }
    if (raw.digest().size() == sizeof(base::Digest::bytes)) {
        entry.digest.emplace();
        std::memcpy(entry.digest->bytes.data(), raw.digest().data(), raw.digest().size());
    }
    return entry;
}

bool extents_fit(const LayerEntry& entry, uint64_t data_size) {
    uint64_t last_end = 0;
    for (const LayerExtent& extent : entry.extents) {
        if (extent.length == 0 || extent.file_offset < last_end) return false;
        if (extent.file_offset > entry.size || extent.length > entry.size - extent.file_offset) return false;
        if (extent.data_offset > data_size || extent.length > data_size - extent.data_offset) return false;
        last_end = extent.file_offset + extent.length;
    }
    return true;
}

// Why `entry` makes no sense behind those in `known`, or null.
const char* fault_of(const LayerEntry& entry, const std::unordered_map<std::string, FileType>& known,
                     uint64_t data_size) {
    if (entry.path.empty()) {
        if (!known.empty()) return "is the root, but not the first";
        if (entry.type != FileType::directory) return "is the root, but no directory";
    } else {
        if (!is_plain_path(entry.path)) return "has a path that leads out of the layer";
        if (known.contains(entry.path)) return "is there twice";
        auto parent = known.find(parent_of(entry.path));
        if (parent == known.end() || parent->second != FileType::directory)
            return "lies in no directory of the layer";
    }
    if ((entry.mode & ~07777u) != 0) return "has a mode with bits that no mode has";
    if (entry.size > INT64_MAX) return "is larger than any file can be";
    if (!entry.hard_link_to.empty()) {
        auto target = known.find(entry.hard_link_to);
        if (target == known.end()) return "is a hard link to nothing before it";
        if (target->second != entry.type || entry.type == FileType::directory)
            return "is a hard link to another type";
        if (!entry.extents.empty()) return "is a hard link and has data of its own";
    }
    bool is_link = entry.type == FileType::symlink;
    if (is_link != !entry.link_target.empty()) return "has a link target and is no symlink, or the reverse";
    if (entry.link_target.find('\0') != std::string::npos) return "has a link target with a zero byte";
    if (entry.type != FileType::regular && !entry.extents.empty()) return "has data, but is no regular file";
    if (!extents_fit(entry, data_size)) return "has data outside the file or outside the data kept";
    for (const auto& [name, value] : entry.xattrs) {
        if (name.empty() || name.find('\0') != std::string::npos)
            return "has an attribute without a proper name";
    }
    return nullptr;
}

}  // namespace

const char* name_of(FileType type) {
    switch (type) {
        case FileType::regular:
            return "file";
        case FileType::directory:
            return "directory";
        case FileType::symlink:
            return "symlink";
        case FileType::character_device:
            return "character device";
        case FileType::block_device:
            return "block device";
        case FileType::fifo:
            return "fifo";
        case FileType::socket:
            return "socket";
    }
    return "unknown";
}

std::string encode_layer(const LayerTree& tree) {
    stored::LayerTree out;
    out.set_version(k_version);
    for (const LayerEntry& entry : tree.entries) {
        stored::LayerEntry& raw = *out.add_entries();
        raw.set_path(entry.path);
        raw.set_type(stored_type(entry.type));
        raw.set_mode(entry.mode);
        raw.set_uid(entry.uid);
        raw.set_gid(entry.gid);
        if (entry.rdev != 0) raw.set_rdev(entry.rdev);
        raw.set_mtime_ns(entry.mtime_ns);
        raw.set_ctime_ns(entry.ctime_ns);
        raw.set_inode(entry.inode);
        if (entry.size != 0) raw.set_size(entry.size);
        if (!entry.link_target.empty()) raw.set_link_target(entry.link_target);
        if (!entry.hard_link_to.empty()) raw.set_hard_link_to(entry.hard_link_to);
        for (const auto& [name, value] : entry.xattrs) {
            stored::LayerXattr& xattr = *raw.add_xattrs();
            xattr.set_name(name);
            xattr.set_value(value);
        }
        for (const LayerExtent& extent : entry.extents) {
            stored::LayerExtent& stored_extent = *raw.add_extents();
            stored_extent.set_file_offset(extent.file_offset);
            stored_extent.set_data_offset(extent.data_offset);
            stored_extent.set_length(extent.length);
        }
        if (entry.digest) raw.set_digest(entry.digest->bytes.data(), entry.digest->bytes.size());
    }
    return out.SerializeAsString();
}

LayerTree parse_layer(std::string_view bytes, uint64_t data_size, Findings& findings, std::string_view file) {
    std::string name(file);
    LayerTree tree;
    stored::LayerTree raw;
    if (bytes.size() > INT32_MAX || !raw.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
        add_finding(
            findings,
            {FindingKind::damaged, name, {}, "it is cut off or no layer tree; what could be read is kept"});
    }
    if (raw.version() != k_version) {
        add_finding(findings, {FindingKind::unknown,
                               name,
                               {},
                               fmt::format("version {}, expected {}; read as far as understood",
                                           raw.version(), k_version)});
    }
    std::unordered_map<std::string, FileType> known;
    for (const stored::LayerEntry& stored_entry : raw.entries()) {
        std::optional<FileType> type = type_of(stored_entry.type());
        LayerEntry entry = make_entry(stored_entry, type.value_or(FileType::regular));
        const char* fault =
            type ? fault_of(entry, known, data_size) : "has a type that this version does not know";
        if (fault != nullptr) {
            add_finding(findings, {FindingKind::damaged,
                                   name,
                                   {},
                                   fmt::format("the entry \"{}\" {}; dropped", entry.path, fault)});
            continue;
        }
        known.emplace(entry.path, entry.type);
        tree.entries.push_back(std::move(entry));
    }
    if (tree.entries.empty()) {
        add_finding(findings, {FindingKind::empty, name, {}, "it holds no entry, not even the root"});
    }
    return tree;
}

}  // namespace cprewind::images

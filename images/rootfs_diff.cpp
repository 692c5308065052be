#include "images/rootfs_diff.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/error.h"
#include "base/text.h"
#include "images/decoded_file.h"
#include "images/tar_reader.h"

namespace cprewind::images {

namespace {

constexpr size_t k_entries_limit = 200'000;
constexpr uint64_t k_names_limit = 24u << 20;
// As text; as values it is up to 16 times as much.
constexpr size_t k_deleted_limit = 4u << 20;
constexpr std::string_view k_whiteout = ".wh.";
constexpr std::string_view k_opaque = ".wh..wh..opq";
constexpr const char* k_opaque_attribute = "trusted.overlay.opaque";
// Inside an archive that may have a window of 64 MiB itself.
constexpr int k_window_log = 24;

using Entries = std::map<std::string, LayerEntry>;

std::string parent_of(const std::string& path) {
    size_t slash = path.rfind('/');
    return slash == std::string::npos ? std::string() : path.substr(0, slash);
}

LayerEntry make_directory(std::string path) {
    LayerEntry entry;
    entry.path = std::move(path);
    entry.type = FileType::directory;
    entry.mode = 0755;
    return entry;
}

LayerEntry make_whiteout(std::string path) {
    LayerEntry entry;
    entry.path = std::move(path);
    entry.type = FileType::character_device;
    return entry;
}

class TreeBuilder {
 public:
    TreeBuilder(std::string name, Findings& findings) : name_(std::move(name)), findings_(findings) {}

    void add(LayerEntry entry) {
        if (!room_for(entry.path)) return;
        entries_.insert_or_assign(entry.path, std::move(entry));
    }
    LayerEntry* find(const std::string& path) {
        auto found = entries_.find(path);
        return found == entries_.end() ? nullptr : &found->second;
    }
    void remove_below(const std::string& path) {
        auto begin = entries_.lower_bound(path + "/");
        entries_.erase(begin, entries_.lower_bound(path + "0"));  // '0' follows '/'
    }
    void report(const std::string& path, std::string_view why) {
        if (reports_++ < 100) {
            add_finding(findings_, {FindingKind::damaged,
                                    name_,
                                    {},
                                    fmt::format("the entry \"{}\" {}; dropped",
                                                base::escape(path.substr(0, 300)), why)});
        }
    }

    LayerTree build() {
        std::vector<std::string> implied;
        for (const auto& [path, entry] : entries_) {
            for (std::string above = parent_of(path); !above.empty() && !entries_.contains(above);
                 above = parent_of(above)) {
                implied.push_back(above);
                // Deep paths imply many times their own length.
                if (!room_for(above)) break;
                if (implied.size() > 1 && implied[implied.size() - 2] == above) break;
            }
        }
        for (std::string& path : implied) entries_.try_emplace(path, make_directory(path));
        entries_.try_emplace("", make_directory(""));
        LayerTree tree;
        std::map<std::string, bool> is_directory;
        for (auto& [path, entry] : entries_) {
            auto above = is_directory.find(parent_of(path));
            if (!path.empty() && (above == is_directory.end() || !above->second)) {
                report(path, "lies in something that is no directory");
                continue;
            }
            is_directory[path] = entry.type == FileType::directory;
            tree.entries.push_back(std::move(entry));
        }
        return tree;
    }

 private:
    bool room_for(const std::string& path) {
        names_ += path.size() + sizeof(LayerEntry);
        if (entries_.size() < k_entries_limit &&
            names_ < k_names_limit + k_entries_limit * sizeof(LayerEntry))
            return true;
        if (!full_) {
            add_finding(findings_, {FindingKind::damaged,
                                    name_,
                                    {},
                                    fmt::format("more than {} entries; those from \"{}\" on are not read",
                                                entries_.size(), base::escape(path))});
        }
        full_ = true;
        return false;
    }

    std::string name_;
    Findings& findings_;
    Entries entries_;
    uint64_t names_ = 0;
    size_t reports_ = 0;
    bool full_ = false;
};

LayerEntry make_entry(TarMember member) {
    LayerEntry entry;
    entry.path = std::move(member.path);
    entry.type = member.type;
    entry.mode = member.mode;
    entry.uid = member.uid;
    entry.gid = member.gid;
    entry.rdev = member.rdev;
    entry.mtime_ns = member.mtime_ns;
    entry.xattrs = std::move(member.xattrs);
    if (member.type == FileType::symlink) entry.link_target = std::move(member.link_target);
    if (member.type == FileType::regular) entry.size = member.size;
    if (entry.size > 0) entry.extents = {{0, member.data_offset, member.size}};
    return entry;
}

// What ".wh.NAME" says. True when it was such a mark.
bool add_whiteout(const TarMember& member, TreeBuilder& builder) {
    std::string directory = parent_of(member.path);
    std::string base = member.path.substr(directory.empty() ? 0 : directory.size() + 1);
    if (!base.starts_with(k_whiteout)) return false;
    if (base == k_opaque) {
        LayerEntry* above = builder.find(directory);
        LayerEntry entry = above != nullptr ? *above : make_directory(directory);
        entry.xattrs[k_opaque_attribute] = "y";
        builder.add(std::move(entry));
        return true;
    }
    std::string hidden = base.substr(k_whiteout.size());
    if (hidden.empty() || hidden == "." || hidden == "..") {
        builder.report(member.path, "hides nothing");
        return true;
    }
    // aufs keeps its own files under ".wh..wh.": they hide nothing.
    if (hidden.starts_with(k_whiteout)) return true;
    std::string path = directory.empty() ? hidden : directory + "/" + hidden;
    // A layer may hide what was below and bring its own: then the new one counts.
    if (builder.find(path) == nullptr) builder.add(make_whiteout(std::move(path)));
    return true;
}

void add_hard_link(TarMember member, TreeBuilder& builder) {
    const LayerEntry* target = builder.find(member.link_target);
    if (target == nullptr || target->type != FileType::regular) {
        builder.report(member.path, "is a hard link to nothing");
        return;
    }
    LayerEntry entry = *target;
    if (entry.hard_link_to.empty()) entry.hard_link_to = target->path;
    entry.path = std::move(member.path);
    entry.extents.clear();
    builder.add(std::move(entry));
}

}  // namespace

FileTree read_file_tree(std::shared_ptr<const ImageFile> tar, const std::string& name, Whiteouts whiteouts,
                        Findings& findings) {
    FileTree out;
    out.name = name;
    Compression compression = find_compression(*tar);
    std::shared_ptr<DecodedFile> decoded;
    if (compression == Compression::gzip || compression == Compression::zstd) {
        decoded = std::make_shared<DecodedFile>(std::move(tar), compression, k_window_log);
        out.data = decoded;
        whiteouts = Whiteouts::oci;
    } else {
        out.data = std::move(tar);
    }
    TreeBuilder builder(name, findings);
    // An empty archive is 1024 zeros; what is neither that nor a tar says so below.
    TarReader reader(out.data, name, findings);
    while (auto member = reader.next()) {
        if (member->is_hard_link) {
            add_hard_link(std::move(*member), builder);
        } else if (whiteouts != Whiteouts::oci || !add_whiteout(*member, builder)) {
            reader.settle(*member);
            // Left by an earlier mark for the whole of the directory.
            const LayerEntry* there = builder.find(member->path);
            bool opaque = there != nullptr && there->xattrs.contains(k_opaque_attribute);
            LayerEntry entry = make_entry(std::move(*member));
            if (opaque && entry.type == FileType::directory) entry.xattrs[k_opaque_attribute] = "y";
            builder.add(std::move(entry));
        }
    }
    if (decoded && !decoded->damage().empty()) {
        add_finding(findings, {FindingKind::damaged, name, {}, decoded->damage()});
    }
    out.tree = builder.build();
    return out;
}

void apply_deleted_files(LayerTree& tree, std::string_view deleted, const std::string& name,
                         Findings& findings) {
    TreeBuilder builder(name, findings);
    auto list = deleted.size() <= k_deleted_limit ? nlohmann::json::parse(deleted, nullptr, false)
                                                  : nlohmann::json(nlohmann::json::value_t::discarded);
    if (!list.is_array()) {
        add_finding(findings,
                    {FindingKind::damaged,
                     name,
                     {},
                     "it is no list of paths in JSON, or beyond 4 MiB; nothing is taken for deleted"});
        return;
    }
    for (LayerEntry& entry : tree.entries) builder.add(std::move(entry));
    for (const auto& value : list) {
        std::string path;
        bool fits = value.is_string();
        if (fits) {
            for (const std::string& part : base::split(value.get_ref<const std::string&>(), '/')) {
                if (part.empty() || part == ".") continue;
                fits = fits && part != ".." && part.find('\0') == std::string::npos;
                path += path.empty() ? part : "/" + part;
            }
        }
        if (!fits || path.empty() || path.size() > 4096) {
            builder.report(value.is_string() ? value.get<std::string>() : "(no text)", "is no path");
            continue;
        }
        builder.remove_below(path);
        builder.add(make_whiteout(std::move(path)));
    }
    tree = builder.build();
}

void add_digests(LayerTree& tree, const ImageFile& data) {
    std::map<uint64_t, LayerEntry*> by_place;
    std::map<std::string, const LayerEntry*> by_path;
    for (LayerEntry& entry : tree.entries) {
        if (entry.type != FileType::regular || entry.digest || !entry.hard_link_to.empty()) continue;
        by_path[entry.path] = &entry;
        if (entry.size == 0) {
            entry.digest = base::digest_of({});
        } else if (entry.extents.size() == 1 && entry.extents[0].length == entry.size) {
            by_place[entry.extents[0].data_offset] = &entry;
        }
    }
    std::vector<std::byte> buffer(256 << 10);
    base::Hasher hasher;
    for (auto& [offset, entry] : by_place) {
        uint64_t done = 0;
        while (done < entry->size) {
            auto want = std::span(buffer).first(
                static_cast<size_t>(std::min<uint64_t>(buffer.size(), entry->size - done)));
            size_t got = data.read_at(offset + done, want);
            hasher.update(want.first(got));
            done += got;
            if (got < want.size()) break;
        }
        base::Digest digest = hasher.finish();
        if (done == entry->size) entry->digest = digest;
    }
    for (LayerEntry& entry : tree.entries) {
        if (entry.hard_link_to.empty()) continue;
        auto target = by_path.find(entry.hard_link_to);
        if (target != by_path.end()) entry.digest = target->second->digest;
    }
}

}  // namespace cprewind::images

#include "images/archive_source.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/text.h"
#include "images/tar_reader.h"

namespace cprewind::images {

namespace {

using base::Error;
using base::ErrorKind;

// CRIU writes a few files per process; archives of a million members are made to exhaust us.
constexpr size_t k_members_limit = 200'000;
// What a compressed archive keeps of itself: images other than pages are far smaller than this.
constexpr uint64_t k_small_member = 2u << 20;
constexpr int k_parents_limit = 64;

std::string parent_path(std::string_view path) {
    size_t slash = path.rfind('/');
    return slash == std::string_view::npos ? std::string() : std::string(path.substr(0, slash));
}

// Where a symbolic link in `directory` leads, or nothing when that is outside the archive.
std::optional<std::string> follow(const std::string& directory, std::string_view target) {
    if (target.starts_with('/')) return std::nullopt;
    std::vector<std::string> parts;
    if (!directory.empty()) parts = base::split(directory, '/');
    for (const std::string& part : base::split(target, '/')) {
        if (part.empty() || part == ".") continue;
        if (part != "..") {
            parts.push_back(part);
        } else if (parts.empty()) {
            return std::nullopt;
        } else {
            parts.pop_back();
        }
    }
    return base::join(parts, "/");
}

// What a file that is no archive has instead.
std::string beginning_of(const ImageFile& file) {
    std::array<char, 512> bytes{};
    size_t got = file.read_at(0, std::as_writable_bytes(std::span(bytes)));
    if (got == 0) return "it is empty";
    if (std::all_of(bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(got),
                    [](char c) { return c == 0; }))
        return "it begins with zeros, as an archive without members does";
    return fmt::format("it begins with \"{}\"",
                       base::escape(std::string_view(bytes.data(), std::min<size_t>(got, 8))));
}

// To the end of the compressed stream, which is behind the archive's: there are the checksums.
void read_on(const DecodedFile& file) {
    std::byte beyond;
    file.read_at(INT64_MAX, std::span(&beyond, 1));
}

}  // namespace

ArchiveSource::ArchiveSource(std::shared_ptr<const ImageFile> file, std::string name, std::string description,
                             const Visitor& visitor, const Limits& limits)
    : name_(std::move(name)),
      description_(std::move(description)),
      limits_(limits),
      compression_(find_compression(*file)) {
    if (compression_ == Compression::other) {
        throw Error(ErrorKind::unsupported,
                    fmt::format("{} is compressed by something else than gzip or zstd", description_),
                    "unpack it first, to a plain .tar: no need to unpack that as well");
    }
    std::shared_ptr<DecodedFile> decoded;
    if (compression_ == Compression::none) {
        data_ = std::move(file);
    } else {
        data_ = decoded = std::make_shared<DecodedFile>(std::move(file), compression_, limits_.window_log);
    }
    if (!is_tar(*data_)) {
        std::string why = decoded && !decoded->damage().empty() ? decoded->damage() : beginning_of(*data_);
        throw Error(ErrorKind::unsupported, fmt::format("{} is no tar archive: {}", description_, why),
                    "name an archive, or the directory in which CRIU's .img files lie");
    }
    bool to_the_end = read_index(visitor);
    if (decoded && to_the_end) read_on(*decoded);
    if (decoded && !decoded->damage().empty()) {
        add_finding(findings_, {FindingKind::damaged, name_, {}, decoded->damage()});
    }
}

bool ArchiveSource::read_index(const Visitor& visitor) {
    TarReader reader(data_, name_, findings_);
    uint64_t names = 0;
    size_t duplicates = 0;
    while (auto member = reader.next()) {
        if (members_.size() >= k_members_limit || names > limits_.name_bytes) {
            add_finding(findings_, {FindingKind::damaged, name_, member->data_offset,
                                    fmt::format("more than {} members; those from \"{}\" on are not read",
                                                members_.size(), base::escape(member->path))});
            return false;
        }
        bool is_parent = member->path == "parent" || member->path.ends_with("/parent");
        if (member->type == FileType::symlink && is_parent && parent_links_.size() < k_parents_limit) {
            if (auto target = follow(parent_path(member->path), member->link_target))
                parent_links_[member->path] = *target;
            continue;
        }
        if (member->type != FileType::regular) continue;
        Member entry{member->data_offset, member->size, member->mtime_ns, nullptr};
        if (member->is_hard_link) {
            auto target = members_.find(member->link_target);
            if (target == members_.end()) {
                add_finding(findings_,
                            {FindingKind::damaged, name_, member->data_offset,
                             fmt::format("the member \"{}\" is a hard link to \"{}\", which is not there",
                                         base::escape(member->path), base::escape(member->link_target))});
                continue;
            }
            entry = target->second;
        } else {
            if (compression_ != Compression::none) keep(entry);
            if (visitor) visitor(member->path, content_of(entry));
            reader.settle(*member);
            entry.size = member->size;
        }
        names += member->path.size() + sizeof(Member);
        auto [place, added] = members_.try_emplace(member->path);
        if (!added && duplicates++ < 20) {
            add_finding(findings_,
                        {FindingKind::damaged, name_, entry.offset,
                         fmt::format("the member \"{}\" is there more than once; the last one is read",
                                     base::escape(member->path))});
        }
        place->second = std::move(entry);
    }
    return true;
}

void ArchiveSource::keep(Member& member) {
    if (member.size > k_small_member || member.size > limits_.kept_bytes - kept_bytes_) return;
    auto content = std::make_shared<std::string>(static_cast<size_t>(member.size), '\0');
    content->resize(
        data_->read_at(member.offset, std::as_writable_bytes(std::span(content->data(), content->size()))));
    kept_bytes_ += member.size;
    member.content = std::move(content);
}

std::vector<std::string> ArchiveSource::list() const {
    std::vector<std::string> names;
    names.reserve(members_.size());
    for (const auto& [name, member] : members_) names.push_back(name);
    return names;
}

// `name` with links named "parent" in it followed.
std::string ArchiveSource::resolve(std::string_view name) const {
    std::string path(name);
    size_t from = 0;
    for (int links = 0; links < k_parents_limit && !parent_links_.empty();) {
        size_t slash = path.find('/', from);
        if (slash == std::string::npos) break;
        auto link = parent_links_.find(path.substr(0, slash));
        if (link == parent_links_.end()) {
            from = slash + 1;
            continue;
        }
        path = link->second.empty() ? path.substr(slash + 1) : link->second + path.substr(slash);
        from = 0;
        ++links;
    }
    return path;
}

std::unique_ptr<ImageFile> ArchiveSource::open(std::string_view name) const {
    auto found = members_.find(resolve(name));
    if (found == members_.end()) return nullptr;
    return content_of(found->second);
}

std::unique_ptr<ImageFile> ArchiveSource::content_of(const Member& member) const {
    if (member.content) return std::make_unique<BytesFile>(member.content);
    return std::make_unique<SliceFile>(data_, member.offset, member.size);
}

std::optional<int64_t> ArchiveSource::modified_ns(std::string_view name) const {
    auto found = members_.find(resolve(name));
    if (found == members_.end()) return std::nullopt;
    return found->second.mtime_ns;
}

}  // namespace cprewind::images

#include "images/open_source.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <tuple>

#include "base/error.h"
#include "base/fd.h"
#include "images/archive_source.h"
#include "images/checkpoint.h"
#include "images/directory_source.h"
#include "images/oci_layout.h"

namespace cprewind::images {

namespace {

using base::Error;
using base::ErrorKind;
namespace fs = std::filesystem;

// A file of the host, read by seeking.
class DiskFile : public ImageFile {
 public:
    explicit DiskFile(const fs::path& path)
        : name_(path.string()),
          // A FIFO must not make us wait.
          fd_(base::open_file(path, O_RDONLY | O_NONBLOCK)),
          size_(base::file_size(fd_.get(), name_)) {}

    uint64_t size() const override { return size_; }
    size_t read_at(uint64_t offset, std::span<std::byte> out) const override {
        if (offset >= size_) return 0;
        return base::pread_full(fd_.get(), out, offset, name_);
    }

 private:
    std::string name_;
    base::Fd fd_;
    uint64_t size_;
};

// Beyond it apply_deleted_files refuses; one byte more, so that it sees that.
constexpr uint64_t k_deleted_limit = (4u << 20) + 1;
constexpr std::string_view k_layer = "rootfs-diff.tar";
constexpr std::string_view k_shared_memory = "devshm-checkpoint.tar";

bool is_tree(std::string_view name) {
    size_t slash = name.rfind('/');
    std::string_view file = slash == std::string_view::npos ? name : name.substr(slash + 1);
    std::string_view directory = slash == std::string_view::npos ? "" : name.substr(0, slash);
    bool volume = file.ends_with(".tar") && (directory == "volumes" || directory.ends_with("/volumes"));
    return file == k_layer || file == k_shared_memory || volume;
}

// Trees as they are met, by name: where they belong is known when the images have been found. Each with its own
// findings, so that those of what is no part of the checkpoint are not shown.
class TreeCollector {
 public:
    void take(const std::string& name, std::shared_ptr<const ImageFile> content) {
        if (!is_tree(name) || trees_.size() >= k_limit) return;
        Findings findings;
        FileTree tree = read_file_tree(std::move(content), name, Whiteouts::none, findings);
        trees_.insert_or_assign(name, std::pair(std::move(tree), std::move(findings)));
    }
    void give(const std::string& base, OpenedSource& opened) {
        for (auto& [name, found] : trees_) {
            if (!name.starts_with(base)) continue;
            std::string_view rest = std::string_view(name).substr(base.size());
            bool ours = rest == k_layer || rest == k_shared_memory ||
                        (rest.starts_with("volumes/") && rest.find('/', 8) == std::string_view::npos);
            if (!ours) continue;
            found.first.name = std::string(rest);
            for (Finding& finding : found.second) add_finding(opened.findings, std::move(finding));
            if (rest == k_layer) {
                opened.layer = std::move(found.first);
            } else {
                opened.trees.push_back(std::move(found.first));
            }
        }
    }

 private:
    static constexpr size_t k_limit = 100;
    std::map<std::string, std::pair<FileTree, Findings>> trees_;
};

// What lies beside the images of `prefix`.
void read_surroundings(OpenedSource& opened, const std::string& prefix, TreeCollector& trees) {
    constexpr std::string_view k_usual = "checkpoint/";
    std::string base = prefix.ends_with(k_usual) ? prefix.substr(0, prefix.size() - k_usual.size()) : prefix;
    opened.base = base;
    opened.origin = read_origin(*opened.files, prefix, opened.findings);
    trees.give(base, opened);
    std::string deleted = base + "deleted.files";
    auto list = opened.files->open(deleted);
    if (!list) return;
    if (!opened.layer) opened.layer = FileTree{std::string(k_layer), {}, nullptr};
    std::string text(static_cast<size_t>(std::min<uint64_t>(list->size(), k_deleted_limit)), '\0');
    text.resize(list->read_at(0, std::as_writable_bytes(std::span(text.data(), text.size()))));
    apply_deleted_files(opened.layer->tree, text, deleted, opened.findings);
}

// /var/lib/docker/containers/ID/checkpoints/NAME: what Docker knows of the container is in containers/ID.
void read_docker(const fs::path& path, OpenedSource& opened) {
    std::error_code ignored;
    fs::path whole = fs::weakly_canonical(path, ignored);
    if (ignored || whole.parent_path().filename() != "checkpoints") return;
    try {
        add_docker_origin(DirectorySource(whole.parent_path().parent_path()), opened.origin, opened.findings);
    } catch (const Error&) {
        // Not ours to read: the images are all the same.
    }
}

}  // namespace

std::unique_ptr<std::string> find_checkpoint(const ImageSource& source) {
    std::unique_ptr<std::string> best;
    auto rank = [](const std::string& prefix) {
        return std::tuple(std::count(prefix.begin(), prefix.end(), '/'), prefix != "checkpoint/", prefix);
    };
    for (const std::string& name : source.list()) {
        size_t slash = name.rfind('/');
        size_t begin = slash == std::string::npos ? 0 : slash + 1;
        std::string_view file = std::string_view(name).substr(begin);
        if (file != "inventory.img" && file != "pstree.img") continue;
        std::string prefix = name.substr(0, begin);
        if (!best || rank(prefix) < rank(*best)) best = std::make_unique<std::string>(std::move(prefix));
    }
    return best;
}

OpenedSource open_source(const fs::path& path) {
    OpenedSource opened;
    TreeCollector trees;
    std::unique_ptr<std::string> prefix;
    std::error_code ignored;
    if (fs::is_directory(path, ignored)) {
        opened.files = std::make_unique<DirectorySource>(path);
        prefix = find_checkpoint(*opened.files);
        // Opened by itself, so that its "parent" is followed.
        if (prefix) opened.images = std::make_unique<DirectorySource>(path / *prefix);
        for (const std::string& name : prefix ? opened.files->list() : std::vector<std::string>()) {
            if (auto file = is_tree(name) ? opened.files->open(name) : nullptr)
                trees.take(name, std::move(file));
        }
    } else {
        if (fs::exists(path, ignored) && !fs::is_regular_file(path, ignored)) {
            throw Error(ErrorKind::unsupported,
                        fmt::format("{} is neither a directory nor a regular file", path.string()));
        }
        auto archive = std::make_unique<ArchiveSource>(
            std::make_shared<DiskFile>(path), "", path.string(),
            [&](const std::string& name, const auto& content) { trees.take(name, content); });
        opened.findings = archive->findings();
        prefix = find_checkpoint(*archive);
        if (prefix) opened.images = std::make_unique<PrefixedSource>(*archive, *prefix);
        opened.files = std::move(archive);
    }
    // A checkpoint in an OCI layout lies within another archive, in a blob.
    if (auto layout = prefix ? nullptr : find_oci_layout(*opened.files)) {
        auto checkpoint = open_oci_checkpoint(
            *opened.files, *layout,
            [&](const std::string& name, const auto& content) { trees.take(name, content); },
            opened.findings);
        prefix = checkpoint ? find_checkpoint(*checkpoint) : nullptr;
        if (prefix) {
            opened.images = std::make_unique<PrefixedSource>(*checkpoint, *prefix);
            opened.files = std::move(checkpoint);
        }
    }
    if (!opened.images) {
        throw Error(ErrorKind::not_found,
                    fmt::format("{} holds no checkpoint: neither inventory.img nor pstree.img is there",
                                path.string()),
                    "name the directory in which CRIU's .img files lie, or an archive of it");
    }
    if (opened.images->open("cipher.img")) {
        throw Error(ErrorKind::unsupported,
                    fmt::format("{} is encrypted (there is a cipher.img), which this version does not read",
                                path.string()),
                    "decrypt it first, with the private key that belongs to it");
    }
    read_surroundings(opened, *prefix, trees);
    if (fs::is_directory(path, ignored)) read_docker(path, opened);
    return opened;
}

}  // namespace cprewind::images

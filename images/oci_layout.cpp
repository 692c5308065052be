#include "images/oci_layout.h"

#include <fmt/format.h>
#include <google/protobuf/any.pb.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/digest.h"
#include "base/error.h"
#include "base/text.h"
#include "images/decoded_file.h"
#include "images/json_document.h"
#include "images/open_source.h"

namespace cprewind::images {

namespace {

// An index in an index is as deep as any tool goes; a manifest has some ten descriptors.
constexpr int k_depth_limit = 4;
constexpr size_t k_descriptors_limit = 1000;
constexpr size_t k_indexes_limit = 20;
// A checkpoint image has one layer; looking into each costs reading it.
constexpr size_t k_layers_limit = 8;
constexpr uint64_t k_small_blob = 2u << 20;

constexpr std::string_view k_checkpoint = "application/vnd.containerd.container.criu.checkpoint.criu.tar";
constexpr std::string_view k_specification =
    "application/vnd.containerd.container.checkpoint.config.v1+proto";
constexpr std::string_view k_predump = "application/vnd.containerd.container.criu.checkpoint.predump.tar";
// What else containerd writes begins so; the rest of the media type becomes a name.
constexpr std::string_view k_containerd = "application/vnd.containerd.container.";

using SharedFile = std::shared_ptr<const ImageFile>;

bool is_index(std::string_view type) {
    return type.ends_with("image.index.v1+json") || type.ends_with("manifest.list.v2+json");
}
bool is_manifest(std::string_view type) {
    return type.ends_with("image.manifest.v1+json") || type.ends_with("distribution.manifest.v2+json");
}
bool is_layer(std::string_view type) {
    return type.find("image.layer.") != std::string_view::npos ||
           type.find("image.rootfs.diff.tar") != std::string_view::npos;
}

struct Descriptor {
    std::string type;
    std::string name;  // of the blob, within the layout
    SharedFile file;
};

// Files by name, and the members of one archive below a directory of it.
class OciSource : public ImageSource {
 public:
    explicit OciSource(std::string description) : description_(std::move(description)) {}

    void add(std::string name, SharedFile file) {
        if (file) files_.try_emplace(std::move(name), std::move(file));
    }
    void set_archive(std::unique_ptr<ArchiveSource> archive, std::string prefix) {
        archive_ = std::move(archive);
        prefix_ = std::move(prefix);
    }
    std::vector<std::string> list() const override {
        std::vector<std::string> names;
        for (const auto& [name, file] : files_) names.push_back(name);
        for (const std::string& name : archive_->list()) {
            if (!files_.contains(prefix_ + name)) names.push_back(prefix_ + name);
        }
        std::sort(names.begin(), names.end());
        return names;
    }
    std::unique_ptr<ImageFile> open(std::string_view name) const override {
        if (auto found = files_.find(name); found != files_.end())
            return std::make_unique<SliceFile>(found->second, 0, found->second->size());
        if (!name.starts_with(prefix_)) return nullptr;
        return archive_->open(name.substr(prefix_.size()));
    }
    std::optional<int64_t> modified_ns(std::string_view name) const override {
        if (files_.contains(name) || !name.starts_with(prefix_)) return std::nullopt;
        return archive_->modified_ns(name.substr(prefix_.size()));
    }
    std::string describe() const override { return description_; }

 private:
    std::string description_;
    std::map<std::string, SharedFile, std::less<>> files_;
    std::unique_ptr<ArchiveSource> archive_;
    std::string prefix_;
};

// "sha256:HEX" as "blobs/sha256/HEX"; nothing for what is no digest and could be a path to elsewhere.
std::optional<std::string> blob_name(const std::string& digest) {
    size_t colon = digest.find(':');
    auto is_plain = [](std::string_view text) {
        return !text.empty() && text.size() <= 128 && std::all_of(text.begin(), text.end(), [](char c) {
            return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        });
    };
    if (colon == std::string::npos || !is_plain(digest.substr(0, colon)) ||
        !is_plain(digest.substr(colon + 1)))
        return std::nullopt;
    return fmt::format("blobs/{}/{}", digest.substr(0, colon), digest.substr(colon + 1));
}

class LayoutReader {
 public:
    LayoutReader(const ImageSource& files, const std::string& root, const ArchiveSource::Visitor& visitor,
                 Findings& findings)
        : files_(files), root_(root), visitor_(visitor), findings_(findings) {}

    std::unique_ptr<ImageSource> read() {
        if (files_.open(root_ + "index.json")) {
            read_index(root_ + "index.json", 0);
        } else {
            read_saved_layers();
        }
        // A checkpoint of `ctr` may carry the container's image beside it: then its layers are none.
        for (const std::string& manifest : manifests_) {
            if (!result_) read_manifest(manifest);
        }
        if (others_ > 0) {
            report(FindingKind::unknown, root_ + "index.json",
                   fmt::format("{} more checkpoints are in this layout; the first is read", others_));
        }
        return std::move(result_);
    }

 private:
    void report(FindingKind kind, const std::string& file, std::string message) {
        add_finding(findings_, {kind, file, {}, std::move(message)});
    }

    std::optional<Descriptor> read_descriptor(const nlohmann::json& value, const std::string& where) {
        std::string digest = JsonDocument::text_of(value, "digest");
        auto name = blob_name(digest);
        if (!name) {
            report(FindingKind::damaged, where,
                   fmt::format("\"{}\" is no digest; what it stands for is not read",
                               base::escape(digest.substr(0, 200))));
            return std::nullopt;
        }
        Descriptor out{JsonDocument::text_of(value, "mediaType"), root_ + *name, nullptr};
        out.file = files_.open(out.name);
        if (!out.file) {
            // The container's own image is often left out: a checkpoint only refers to it.
            if (!is_manifest(out.type)) {
                report(FindingKind::absent, out.name,
                       fmt::format("{} lists it ({}), and it is not there", where, base::escape(out.type)));
            }
            return out;
        }
        const nlohmann::json& size = *JsonDocument::step(value, "size");
        if (size.is_number_unsigned() && size.get<uint64_t>() != out.file->size()) {
            report(out.file->size() < size.get<uint64_t>() ? FindingKind::truncated : FindingKind::damaged,
                   out.name,
                   fmt::format("it has {} bytes, but {} says {}", out.file->size(), where,
                               size.get<uint64_t>()));
        }
        check_digest(out);
        return out;
    }

    void check_digest(const Descriptor& blob) {
        constexpr std::string_view k_sha256 = "blobs/sha256/";
        std::string_view name = std::string_view(blob.name).substr(root_.size());
        if (blob.file->size() > k_small_blob || !name.starts_with(k_sha256) || is_layer(blob.type) ||
            blob.type == k_checkpoint)
            return;
        std::string content = content_of(*blob.file);
        auto expected = base::Digest::from_hex(name.substr(k_sha256.size()));
        if (expected && base::digest_of(std::as_bytes(std::span(content))) == *expected) return;
        report(FindingKind::damaged, blob.name, "its content does not have the digest that it is named for");
    }

    static std::string content_of(const ImageFile& file) {
        std::string content(static_cast<size_t>(std::min(file.size(), k_small_blob)), '\0');
        content.resize(file.read_at(0, std::as_writable_bytes(std::span(content.data(), content.size()))));
        return content;
    }

    void read_index(const std::string& name, int depth) {
        if (indexes_++ >= k_indexes_limit) {
            if (indexes_ == k_indexes_limit + 1) {
                report(FindingKind::damaged, name,
                       fmt::format("more than {} indexes; the rest is not read", k_indexes_limit));
            }
            return;
        }
        JsonDocument index(files_, name, findings_);
        const nlohmann::json& manifests = index.at("manifests");
        if (!manifests.is_array()) return;
        std::vector<Descriptor> parts;
        for (const nlohmann::json& value : manifests) {
            if (descriptors_++ >= k_descriptors_limit) {
                report(FindingKind::damaged, name,
                       fmt::format("more than {} descriptors; the rest is not read", k_descriptors_limit));
                break;
            }
            auto part = read_descriptor(value, name);
            if (part) parts.push_back(std::move(*part));
        }
        auto checkpoint = std::find_if(parts.begin(), parts.end(), [](const Descriptor& part) {
            return part.type == k_checkpoint && part.file != nullptr;
        });
        if (checkpoint != parts.end()) {
            if (result_) {
                ++others_;
            } else {
                read_checkpoint(name, *checkpoint, parts);
            }
            return;
        }
        for (const Descriptor& part : parts) {
            if (!part.file) continue;
            if (is_index(part.type) && depth < k_depth_limit) read_index(part.name, depth + 1);
            if (is_manifest(part.type)) manifests_.push_back(part.name);
        }
    }

    // What `ctr` or nerdctl made of one container.
    void read_checkpoint(const std::string& index, const Descriptor& checkpoint,
                         const std::vector<Descriptor>& parts) {
        auto source = std::make_unique<OciSource>(files_.describe());
        source->add("index.json", files_.open(index));
        for (const Descriptor& part : parts) {
            if (!part.file || &part == &checkpoint) continue;
            if (part.type == k_specification) {
                source->add("spec.dump", specification_of(part));
            } else if (is_layer(part.type)) {
                source->add("rootfs-diff.tar", part.file);
                if (visitor_) visitor_("rootfs-diff.tar", part.file);
            } else if (part.type == k_predump || part.type == k_checkpoint) {
                report(FindingKind::unknown, part.name,
                       "another set of images in the same checkpoint; it is not read");
            } else if (part.type.starts_with(k_containerd)) {
                std::string rest = part.type.substr(k_containerd.size());
                std::replace(rest.begin(), rest.end(), '/', '_');
                source->add("ctr." + rest, part.file);
            }
        }
        // A fault of this archive is one of the evidence, as if it had been named itself.
        auto archive = std::make_unique<ArchiveSource>(
            checkpoint.file, checkpoint.name, fmt::format("{} in {}", checkpoint.name, files_.describe()),
            ArchiveSource::Visitor(), ArchiveSource::k_nested);
        take_findings(*archive);
        source->set_archive(std::move(archive), "checkpoint/");
        result_ = std::move(source);
    }

    // JSON within protobuf's Any.
    SharedFile specification_of(const Descriptor& part) {
        google::protobuf::Any any;
        if (part.file->size() > k_small_blob || !any.ParseFromString(content_of(*part.file))) {
            report(FindingKind::damaged, part.name, "the specification in it cannot be read");
            return nullptr;
        }
        return std::make_shared<BytesFile>(std::make_shared<const std::string>(any.value()));
    }

    void read_manifest(const std::string& name) {
        JsonDocument manifest(files_, name, findings_);
        const nlohmann::json& layers = manifest.at("layers");
        if (!layers.is_array()) return;
        for (const nlohmann::json& value : layers) {
            if (result_ || layers_++ >= k_layers_limit) return;
            auto layer = read_descriptor(value, name);
            if (layer && layer->file) try_layer(*layer, name);
        }
    }

    // [{"Config": "….json", "RepoTags": […], "Layers": ["….tar"]}]
    void read_saved_layers() {
        JsonDocument saved(files_, root_ + "manifest.json", findings_);
        if (!saved.at().is_array()) return;
        for (const nlohmann::json& image : saved.at()) {
            const nlohmann::json& layers = *JsonDocument::step(image, "Layers");
            if (!layers.is_array()) continue;
            for (const nlohmann::json& value : layers) {
                if (result_ || layers_++ >= k_layers_limit) return;
                Descriptor layer{"", root_ + JsonDocument::text_of(value), nullptr};
                layer.file = files_.open(layer.name);
                if (layer.file) try_layer(layer, "");
            }
        }
    }

    // A layer that is a checkpoint: with an inventory, and not the file system of a container.
    void try_layer(const Descriptor& layer, const std::string& manifest) {
        std::unique_ptr<ArchiveSource> archive;
        try {
            archive = std::make_unique<ArchiveSource>(layer.file, layer.name,
                                                      fmt::format("{} in {}", layer.name, files_.describe()),
                                                      ArchiveSource::Visitor(), ArchiveSource::k_nested);
        } catch (const base::Error&) {
            return;  // not an archive: whatever it is, no checkpoint
        }
        auto prefix = find_checkpoint(*archive);
        if (!prefix || (!prefix->empty() && *prefix != "checkpoint/")) return;
        take_findings(*archive);
        // Only now, so that nothing of a layer that is no checkpoint is shown.
        for (const std::string& name : archive->list()) {
            if (visitor_) visitor_(name, archive->open(name));
        }
        auto source = std::make_unique<OciSource>(files_.describe());
        if (!manifest.empty()) source->add("manifest.json", files_.open(manifest));
        source->set_archive(std::move(archive), "");
        result_ = std::move(source);
    }

    void take_findings(const ArchiveSource& archive) {
        for (const Finding& finding : archive.findings()) add_finding(findings_, finding);
    }

    const ImageSource& files_;
    const std::string& root_;
    const ArchiveSource::Visitor& visitor_;
    Findings& findings_;
    std::unique_ptr<OciSource> result_;
    std::vector<std::string> manifests_;
    size_t descriptors_ = 0;
    size_t indexes_ = 0;
    size_t layers_ = 0;
    size_t others_ = 0;
};

}  // namespace

std::unique_ptr<std::string> find_oci_layout(const ImageSource& files) {
    std::unique_ptr<std::string> best;
    for (const std::string& name : files.list()) {
        size_t slash = name.rfind('/');
        std::string root = slash == std::string::npos ? "" : name.substr(0, slash + 1);
        std::string_view file = std::string_view(name).substr(root.size());
        if (file != "index.json" && file != "manifest.json") continue;
        if (!best || root.size() < best->size()) best = std::make_unique<std::string>(std::move(root));
    }
    return best;
}

std::unique_ptr<ImageSource> open_oci_checkpoint(const ImageSource& files, const std::string& root,
                                                 const ArchiveSource::Visitor& visitor, Findings& findings) {
    return LayoutReader(files, root, visitor, findings).read();
}

}  // namespace cprewind::images

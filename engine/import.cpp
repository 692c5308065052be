#include "engine/import.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "engine/catalog_rows.h"
#include "engine/snapshot_files.h"
#include "images/checkpoint.h"

namespace cprewind::engine {
namespace {

using nlohmann::json;
using std::chrono::steady_clock;

constexpr size_t k_name_limit = 128;

// The data of all files of a tree, one behind the other, as a snapshot keeps them.
class GatheredFile : public images::ImageFile {
 public:
    // Points the extents of `tree` into this file.
    GatheredFile(images::LayerTree& tree, std::shared_ptr<const images::ImageFile> data)
        : data_(std::move(data)) {
        for (images::LayerEntry& entry : tree.entries) {
            for (images::LayerExtent& extent : entry.extents) {
                parts_.push_back({size_, extent.data_offset, extent.length});
                extent.data_offset = size_;
                size_ += extent.length;
            }
        }
    }

    uint64_t size() const override { return size_; }
    size_t read_at(uint64_t offset, std::span<std::byte> out) const override {
        size_t done = 0;
        auto part = std::upper_bound(parts_.begin(), parts_.end(), offset,
                                     [](uint64_t wanted, const Part& p) { return wanted < p.begin; });
        if (part != parts_.begin()) --part;
        for (; done < out.size() && part != parts_.end(); ++part) {
            uint64_t skip = offset + done - part->begin;
            if (skip >= part->length) break;
            auto piece = out.subspan(
                done, static_cast<size_t>(std::min<uint64_t>(out.size() - done, part->length - skip)));
            size_t got = data_->read_at(part->source + skip, piece);
            done += got;
            if (got < piece.size()) break;
        }
        return done;
    }

 private:
    struct Part {
        uint64_t begin, source, length;
    };
    std::shared_ptr<const images::ImageFile> data_;
    std::vector<Part> parts_;
    uint64_t size_ = 0;
};

std::string plain_name(std::string name) {
    name.resize(std::min(name.size(), k_name_limit));
    for (char& c : name) {
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
                     c == '.' || c == '-';
        if (!plain) c = '_';
    }
    // Docker's names begin so, and what begins otherwise looks like an option or a path.
    if (!name.empty() && (name.front() == '.' || name.front() == '-')) name.front() = '_';
    return name;
}

std::string choose_name(const std::string& wanted, const images::Origin& origin,
                        const std::string& fallback) {
    for (const std::string& candidate : {wanted, origin.container_name, fallback}) {
        if (std::string name = plain_name(candidate); !name.empty()) return name;
    }
    return "imported";
}

store::SnapshotInfo make_info(const images::OpenedSource& source, const images::Checkpoint& checkpoint,
                              std::string name) {
    const images::Origin& origin = source.origin;
    store::SnapshotInfo info;
    info.container_name = std::move(name);
    // Whatever it is has to differ from the ids of containers that exist.
    info.container_id = origin.container_id.empty() ? "imported:" + info.container_name : origin.container_id;
    info.container_image = origin.container_image;
    if (origin.checkpointed) info.taken_at = *origin.checkpointed;
    info.process_count = checkpoint.processes.size();
    info.engine =
        origin.engine == images::OriginEngine::unknown ? "imported" : images::name_of(origin.engine);
    if (!origin.engine_version.empty()) info.engine += " " + origin.engine_version;
    info.criu = origin.criu;
    info.architecture = images::name_of(checkpoint.architecture);
    return info;
}

json engine_facts(const images::OpenedSource& source) {
    return {{"version", 1}, {"via", "import"}, {"engine", images::name_of(source.origin.engine)}};
}

void check_stored(store::Repository& repository, ImportResult& result, const Report& report) {
    auto checked = repository.verify(
        result.record.id, [&](uint64_t done, uint64_t total) { report("verifying", done, total); });
    result.verified_bytes = checked.bytes;
    auto fault = std::find_if(checked.faults.begin(), checked.faults.end(),
                              [](const store::Fault& candidate) { return !candidate.harmless; });
    if (fault == checked.faults.end()) return;
    std::string message = fault->message;
    repository.remove(result.record.id);
    throw base::Error(base::ErrorKind::damaged, "what was stored cannot be read back: " + message,
                      "check the disk of the repository; nothing of the import is left");
}

}  // namespace

ImportResult import_checkpoint(store::Repository& repository, images::OpenedSource& source,
                               const std::string& name, const std::string& fallback, const Report& report) {
    auto began = steady_clock::now();
    ImportResult result;
    report("reading", 0, 0);
    images::Checkpoint checkpoint = images::load_checkpoint(*source.images);
    result.findings = source.findings;
    for (const images::Finding& finding : checkpoint.findings) images::add_finding(result.findings, finding);

    store::SnapshotInfo info = make_info(source, checkpoint, choose_name(name, source.origin, fallback));
    std::vector<std::string> names = source.images->list();
    uint64_t total = 0;
    for (const std::string& image : names) {
        auto file = source.images->open(image);
        if (!file) continue;
        total += file->size();
        if (image.starts_with("pages-")) info.memory_bytes += file->size();
    }
    images::LayerTree layer;
    if (source.layer) {
        layer = source.layer->tree;
        if (source.layer->data) images::add_digests(layer, *source.layer->data);
        for (const images::LayerEntry& entry : layer.entries) {
            if (entry.hard_link_to.empty()) info.layer_bytes += entry.size;
        }
        total += info.layer_bytes;
    }
    store::CatalogRows rows = make_catalog_rows(checkpoint, *source.images, layer);

    auto writer = repository.begin();
    uint64_t before = 0;
    auto progress = [&](uint64_t done, uint64_t) { report("storing", before + done, total); };
    for (const std::string& image : names) {
        auto file = source.images->open(image);
        if (!file) continue;
        writer->add(k_images_prefix + image, *file, progress);
        before += file->size();
    }
    for (const images::OriginPart& part : source.origin.parts) {
        // The layer is kept as ours; statistics are an image.
        if (part.name == "rootfs-diff.tar" || part.name == "deleted.files") continue;
        auto file = source.files->open(source.base + part.name);
        if (!file) continue;
        if (part.name == "stats-dump") {
            if (!source.images->open(part.name)) writer->add(k_images_prefix + part.name, *file);
        } else {
            writer->add(k_import_prefix + part.name, *file);
        }
    }
    if (source.layer) {
        GatheredFile data(layer, source.layer->data);
        writer->add(k_layer_data, data, progress);
        writer->add(k_layer_tree, images::encode_layer(layer));
    }
    writer->add(k_engine_file, engine_facts(source).dump());
    info.wall = steady_clock::now() - began;
    auto head = repository.head(info.container_id);
    result.record = writer->commit(info, rows);
    if (head && *head != result.record.id) repository.set_head(info.container_id, *head);
    check_stored(repository, result, report);
    return result;
}

}  // namespace cprewind::engine

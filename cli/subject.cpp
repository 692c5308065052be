#include "cli/subject.h"

#include <fmt/format.h>

#include <chrono>
#include <filesystem>

#include "base/error.h"
#include "base/text.h"
#include "engine/snapshot_files.h"
#include "images/decoded_file.h"
#include "images/json_document.h"
#include "images/lost_file.h"
#include "images/open_source.h"
#include "images/volumes.h"

namespace cprewind::cli {
namespace {

using base::Error;
using base::ErrorKind;
namespace fs = std::filesystem;

bool is_path(const std::string& reference) {
    return reference.find('/') != std::string::npos || reference == "." || reference == "..";
}

// The files of an archive, and the data of its layer under the name that a snapshot has for them.
class FilesWithLayer : public images::ImageSource {
 public:
    FilesWithLayer(std::unique_ptr<images::ImageSource> files, std::shared_ptr<const images::ImageFile> data)
        : files_(std::move(files)), data_(std::move(data)) {}

    std::vector<std::string> list() const override { return files_->list(); }
    std::unique_ptr<images::ImageFile> open(std::string_view name) const override {
        if (name == engine::k_layer_data) return std::make_unique<images::SliceFile>(data_, 0, data_->size());
        return files_->open(name);
    }
    std::optional<int64_t> modified_ns(std::string_view name) const override {
        return files_->modified_ns(name);
    }
    std::string describe() const override { return files_->describe(); }

 private:
    std::unique_ptr<images::ImageSource> files_;
    std::shared_ptr<const images::ImageFile> data_;
};

Subject open_path(const std::string& path) {
    Subject subject;
    subject.name = path;
    images::OpenedSource opened = images::open_source(path);
    subject.files = std::move(opened.files);
    subject.images = std::move(opened.images);
    subject.origin = std::move(opened.origin);
    subject.trees = std::move(opened.trees);
    if (opened.layer) {
        subject.layer = std::move(opened.layer->tree);
        // `images` refers to the files themselves, which stay where they are.
        if (opened.layer->data) {
            subject.files = std::make_unique<FilesWithLayer>(std::move(subject.files), opened.layer->data);
        }
    }
    subject.checkpoint.findings = std::move(opened.findings);
    return subject;
}

Subject open_snapshot(const Context& context, const std::string& reference) {
    Subject subject;
    std::unique_ptr<store::Repository> repository;
    try {
        repository = open_for_reading(context);
        subject.record = repository->resolve(reference, std::chrono::system_clock::now());
    } catch (const Error& error) {
        std::error_code ignored;
        if (error.kind() != ErrorKind::not_found || !fs::exists(reference, ignored)) throw;
        throw Error(error.kind(), error.message(), fmt::format("or do you mean the path ./{}?", reference));
    }
    subject.name = subject.record->name();
    subject.files = repository->open(*subject.record);
    subject.images = std::make_unique<images::PrefixedSource>(*subject.files, engine::k_images_prefix);
    images::PrefixedSource imported(*subject.files, engine::k_import_prefix);
    if (!imported.list().empty()) {
        subject.origin = images::read_origin(imported, "checkpoint/", subject.checkpoint.findings);
        if (!subject.origin->checkpointed) subject.origin->checkpointed = subject.record->info.taken_at;
    }
    return subject;
}

inspect::StartTimes read_start_times(const images::ImageSource& files, images::Findings& findings) {
    inspect::StartTimes times;
    images::JsonDocument facts(files, engine::k_engine_file, findings);
    const nlohmann::json& started = facts.at(engine::k_started_field);
    if (!started.is_object()) return times;
    for (const auto& [pid, time] : started.items()) {
        auto number = base::parse_number(pid);
        if (number && *number <= UINT32_MAX && time.is_number_unsigned())
            times[images::DumpPid{static_cast<uint32_t>(*number)}] = time.get<uint64_t>();
    }
    return times;
}

}  // namespace

std::unique_ptr<store::Repository> open_for_reading(const Context& context) {
    return store::open_repository(context.repository, store::OpenMode::read);
}

bool Subject::reads_anywhere() const {
    std::error_code ignored;
    return record.has_value() || std::filesystem::is_directory(name, ignored);
}

Subject open_subject(const Context& context, const std::string& reference) {
    Subject subject = is_path(reference) ? open_path(reference) : open_snapshot(context, reference);
    load_subject(subject);
    return subject;
}

void add_file_digests(Subject& subject) {
    auto data = subject.layer ? subject.files->open(engine::k_layer_data) : nullptr;
    if (data) images::add_digests(*subject.layer, *data);
    for (images::FileTree& tree : subject.trees) {
        if (tree.data) images::add_digests(tree.tree, *tree.data);
    }
}

std::string tree_title(const images::FileTree& tree) {
    constexpr std::string_view k_directory = "volumes/", k_tar = ".tar";
    if (tree.name == "devshm-checkpoint.tar") return "/dev/shm";
    if (!tree.name.starts_with(k_directory) || !tree.name.ends_with(k_tar)) return tree.name;
    return "volume " +
           tree.name.substr(k_directory.size(), tree.name.size() - k_directory.size() - k_tar.size());
}

void load_subject(Subject& subject) {
    images::Findings of_container = std::move(subject.checkpoint.findings);
    subject.checkpoint = images::load_checkpoint(*subject.images);
    for (images::Finding& finding : of_container)
        images::add_finding(subject.checkpoint.findings, std::move(finding));
    subject.started = read_start_times(*subject.files, subject.checkpoint.findings);
    for (images::StoredVolume& volume : images::load_volumes(*subject.files, subject.checkpoint.findings)) {
        subject.trees.push_back({images::title_of(volume.volume), std::move(volume.tree),
                                 std::move(volume.data), volume.volume.destination});
    }
    if (subject.layer) return;
    auto data = subject.files->open(engine::k_layer_data);
    try {
        if (auto tree = images::read_whole(*subject.files, engine::k_layer_tree))
            subject.layer = images::parse_layer(*tree, data ? data->size() : 0, subject.checkpoint.findings);
    } catch (const Error& error) {
        if (!images::is_loss(error)) throw;
        images::add_finding(subject.checkpoint.findings,
                            {images::FindingKind::damaged, engine::k_layer_tree, {}, error.message()});
    }
}

}  // namespace cprewind::cli

#include "engine/materialise.h"

#include <fcntl.h>
#include <fmt/format.h>

#include "base/error.h"
#include "engine/snapshot_files.h"
#include "images/directory_source.h"
#include "images/image_source.h"
#include "store/extract.h"

namespace cprewind::engine {
namespace {

using base::Error;
using base::ErrorKind;
namespace fs = std::filesystem;

[[noreturn]] void throw_incomplete(const store::SnapshotRecord& record, const std::string& what) {
    throw Error(ErrorKind::damaged, fmt::format("snapshot {} cannot be put back: {}", record.name(), what),
                "choose another snapshot; nothing was touched");
}

void write_out(const images::ImageFile& file, const fs::path& target, const store::Progress& progress) {
    base::Fd fd = base::open_file(target, O_RDWR | O_CREAT | O_EXCL, 0600);
    store::extract(file, fd.get(), progress);
}

}  // namespace

ReadyMoment materialise(const store::Repository& repository, const store::SnapshotRecord& record,
                        const fs::path& directory, const Report& report) {
    ReadyMoment moment;
    moment.images = directory / "images";
    moment.layer_data = directory / k_layer_data;
    base::make_private_directory(moment.images);

    auto source = repository.open(record);
    uint64_t before = 0;
    auto progress = [&](uint64_t done, uint64_t) { report("verifying", before + done, record.raw_bytes); };
    for (const std::string& name : source->list()) {
        auto file = source->open(name);
        if (name.starts_with(k_images_prefix)) {
            std::string base_name = name.substr(std::string_view(k_images_prefix).size());
            if (base_name.find('/') != std::string::npos) continue;
            write_out(*file, moment.images / base_name, progress);
        } else if (name == k_layer_data) {
            write_out(*file, moment.layer_data, progress);
        } else if (images::is_volume_data(name)) {
            fs::create_directories((directory / name).parent_path());
            write_out(*file, directory / name, progress);
        } else {
            // Not needed for a restore; but a snapshot that is damaged anywhere is not put back.
            images::read_whole(*source, name);
        }
        before += file->size();
    }

    auto tree = images::read_whole(*source, k_layer_tree);
    auto data = source->open(k_layer_data);
    auto facts = images::read_whole(*source, k_engine_file);
    if (!tree || !data || !facts) throw_incomplete(record, "it holds no writable layer");
    images::Findings findings;
    moment.layer = images::parse_layer(*tree, data->size(), findings);
    if (!findings.empty()) throw_incomplete(record, findings.front().message);
    images::DirectorySource staged(directory);
    moment.volumes = images::load_volumes(*source, findings);
    for (images::StoredVolume& volume : moment.volumes) volume.data = staged.open(volume.data_name);
    if (!findings.empty()) throw_incomplete(record, findings.front().message);
    moment.engine_facts = nlohmann::json::parse(*facts, nullptr, false);
    if (!moment.engine_facts.is_object()) throw_incomplete(record, "its engine.json is not a JSON object");
    images::PrefixedSource checkpoint(*source, k_images_prefix);
    moment.checkpoint = images::load_checkpoint(checkpoint);
    if (moment.checkpoint.processes.empty()) throw_incomplete(record, "its checkpoint holds no process");
    return moment;
}

}  // namespace cprewind::engine

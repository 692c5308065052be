#include "engine/snap.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/process.h"
#include "engine/catalog_rows.h"
#include "engine/page_addresses.h"
#include "engine/recover.h"
#include "engine/snapshot_files.h"
#include "images/checkpoint.h"
#include "images/directory_source.h"
#include "images/layer.h"

namespace cprewind::engine {
namespace {

using nlohmann::json;
using std::chrono::steady_clock;
namespace fs = std::filesystem;

std::string criu_version() {
    try {
        // "Version: 4.2.1" on the first line.
        std::string out = base::run({"criu", "--version"}).out;
        std::string_view line = std::string_view(out).substr(0, out.find('\n'));
        size_t colon = line.find(": ");
        return colon == std::string_view::npos ? "" : std::string(base::trim(line.substr(colon + 2)));
    } catch (const base::Error&) {
        return {};
    }
}

json engine_facts(const Container& container, const FrozenMoment& moment, const store::SnapshotInfo& info) {
    return {{"version", 1},
            {"via", moment.method.via == Via::runtime ? "runtime" : "api"},
            {"engine", info.engine},
            {"criu", info.criu},
            {"criu_options", moment.method.via == Via::runtime ? json(criu_options()) : json::array()},
            {"runtime", container.runtime},
            {"layer_directory", moment.layer_directory.string()},
            {"log_path", container.log_path},
            {"log_size", moment.log_size},
            {"was_paused", container.paused}};
}

uint64_t dumped_memory(const images::ImageSource& images) {
    uint64_t total = 0;
    for (const std::string& name : images.list()) {
        if (name.starts_with("pages-")) total += images.open(name)->size();
    }
    return total;
}

// A file of the staging directory that may not be there (no log when Docker made the dump).
void add_if_there(store::SnapshotWriter& writer, const images::ImageSource& source, const char* from,
                  const char* to) {
    if (auto file = source.open(from)) writer.add(to, *file);
}

}  // namespace

SnapResult store_moment(DockerClient& docker, store::Repository& repository, const Container& container,
                        FrozenMoment& moment, store::SnapshotInfo info, steady_clock::time_point began,
                        const Report& report) {
    SnapResult result;
    result.via = moment.method.via;
    result.staged_in_memory = moment.staged_in_memory;

    report("reading", 0, 0);
    moment.layer->finish();
    images::DirectorySource images(moment.images());
    images::Checkpoint checkpoint = images::load_checkpoint(images);
    result.findings = checkpoint.findings;

    info.container_id = container.id;
    info.container_name = container.name;
    info.container_image = container.image;
    info.parent = repository.head(container.id);
    info.taken_at = moment.taken_at;
    info.stall = moment.stall;
    info.process_count = checkpoint.processes.size();
    // Zombies are in the dump and no longer in the control group.
    auto alive =
        std::count_if(checkpoint.processes.begin(), checkpoint.processes.end(),
                      [](const images::Process& p) { return p.state != images::ProcessState::zombie; });
    if (moment.processes > static_cast<uint64_t>(alive))
        result.left_out = moment.processes - static_cast<uint64_t>(alive);
    info.memory_bytes = dumped_memory(images);
    for (const images::LayerEntry& entry : moment.layer->tree().entries) {
        if (entry.hard_link_to.empty()) info.layer_bytes += entry.size;
    }
    info.engine = "Docker " + docker.version().engine;
    info.criu = criu_version();
    info.architecture = images::name_of(checkpoint.architecture);

    images::DirectorySource staging(moment.staging->path());
    // Killed while writing, we leave half a pack. The next writer would remove it; no need to wait for one.
    Guard tidier([path = repository.path()] { store::open_repository(path, store::OpenMode::write); });
    auto writer = repository.begin(info.parent);
    auto addresses = page_addresses(images, checkpoint);
    uint64_t total = info.memory_bytes + info.layer_bytes;
    uint64_t before = 0;
    auto progress = [&](uint64_t done, uint64_t) { report("storing", before + done, total); };
    for (const std::string& name : images.list()) {
        auto file = images.open(name);
        if (!file) continue;
        writer->add(k_images_prefix + name, *file, progress, addresses[name]);
        if (name.starts_with("pages-")) before += file->size();
    }
    writer->add(k_layer_tree, images::encode_layer(moment.layer->tree()));
    writer->add(k_layer_data, *staging.open("layer.data"), progress);
    writer->add(k_container_file, container.raw.dump());
    writer->add(k_engine_file, engine_facts(container, moment, info).dump());
    if (moment.method.via == Via::runtime) {
        add_if_there(*writer, images::DirectorySource(moment.work()), "dump.log", k_dump_log);
    }
    info.wall = steady_clock::now() - began;
    result.record = writer->commit(info, make_catalog_rows(checkpoint, images, moment.layer->tree()));
    tidier.disarm();
    return result;
}

SnapResult snap(DockerClient& docker, store::Repository& repository, const std::string& name,
                const SnapRequest& request, const Report& report) {
    auto began = steady_clock::now();
    ContainerLock lock(find_container(docker, name).id,
                       [&] { report("waiting for another cprewind", 0, 0); });
    auto recovered =
        recover_container(docker, lock, find_container(docker, name).id, repository.path(), report);
    Container container = find_container(docker, name);
    store::SnapshotInfo info;
    info.message = request.message;
    info.tags = request.tags;

    report("freezing", 0, 0);
    std::unique_ptr<Freeze> freeze;
    FrozenMoment moment = take_moment(docker, container, {request.via, repository.staging_path(), lock},
                                      request.stop ? &freeze : nullptr);
    SnapResult result = store_moment(docker, repository, container, moment, std::move(info), began, report);
    if (recovered) result.recovered = recovered->sentence;
    if (freeze) {
        // Only now: until the snapshot was safe, a failure let the container run on.
        docker.kill(container.id);
        freeze->abandon();
    }
    return result;
}

}  // namespace cprewind::engine

// A stored snapshot as files again, every byte verified on the way: what a restore needs.
#pragma once

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "base/fd.h"
#include "engine/snap.h"
#include "images/checkpoint.h"
#include "images/layer.h"
#include "images/volumes.h"
#include "store/repository.h"

namespace cprewind::engine {

// A moment that can be put in place: images on disk, the layer's tree with its data.
struct ReadyMoment {
    std::filesystem::path images;
    images::LayerTree layer;
    std::filesystem::path layer_data;
    std::vector<images::StoredVolume> volumes;  // data on disk as well
    nlohmann::json engine_facts;                // engine.json
    images::Checkpoint checkpoint;
};

// Writes the snapshot into `directory` (empty, ours). Errors: damaged (nothing usable was written), io.
ReadyMoment materialise(const store::Repository& repository, const store::SnapshotRecord& record,
                        const std::filesystem::path& directory, const Report& report);

}  // namespace cprewind::engine

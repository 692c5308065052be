// What a reading command was pointed at: a stored snapshot or a path, loaded the same way.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/command.h"
#include "images/checkpoint.h"
#include "images/layer.h"
#include "images/open_source.h"
#include "inspect/identity.h"
#include "inspect/moment.h"
#include "store/repository.h"

namespace cprewind::cli {

// Everything that a view needs, kept alive together.
struct Subject {
    std::string name;  // "web@3", or the path
    std::optional<store::SnapshotRecord> record;
    std::unique_ptr<images::ImageSource> files;   // of the snapshot, or the directory itself
    std::unique_ptr<images::ImageSource> images;  // the CRIU images in it
    images::Checkpoint checkpoint;
    std::optional<images::LayerTree> layer;  // data: in `files`, under engine::k_layer_data
    // Of archives and of what was imported; the engine is unknown when nothing tells it.
    std::optional<images::Origin> origin;
    // Volumes that a snapshot has, volumes and /dev/shm that an archive has.
    std::vector<images::FileTree> trees;

    inspect::StartTimes started;  // of its processes; empty when nobody noted them

    inspect::Moment moment() const { return {checkpoint, *images}; }
    // Several may read it at once, each elsewhere. An archive may be compressed, and then only goes forward.
    bool reads_anywhere() const;
};

// `reference` is a path when it holds a "/" or is "." or "..", else the name of a snapshot.
Subject open_subject(const Context& context, const std::string& reference);

// Fills in the rest from `files` and `images`; findings that `checkpoint` has already come first.
void load_subject(Subject& subject);

// What a person calls it, and what is the same for two moments: "volume data", "/dev/shm".
std::string tree_title(const images::FileTree& tree);

// Archives have no digests of their files; this reads them for those who show or compare content.
void add_file_digests(Subject& subject);

// The repository for reading; for commands that must not make one.
std::unique_ptr<store::Repository> open_for_reading(const Context& context);

}  // namespace cprewind::cli

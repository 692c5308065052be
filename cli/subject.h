// What a reading command was pointed at: a stored snapshot or a path, loaded the same way.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "cli/command.h"
#include "images/checkpoint.h"
#include "images/layer.h"
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
    std::optional<images::LayerTree> layer;

    inspect::Moment moment() const { return {checkpoint, *images}; }
};

// `reference` is a path when it holds a "/" or is "." or "..", else the name of a snapshot.
Subject open_subject(const Context& context, const std::string& reference);

// Fills in the rest from `files` and `images`; findings that `checkpoint` has already come first.
void load_subject(Subject& subject);

// The repository for reading; for commands that must not make one.
std::unique_ptr<store::Repository> open_for_reading(const Context& context);

}  // namespace cprewind::cli

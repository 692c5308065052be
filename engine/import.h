// Checkpoints that other tools made, into the repository: the archive of podman, CRI-O or containerd, a
// directory of CRIU images.
//
// They become snapshots like ours, with what the archive tells of their container. What lies beside the images
// (configuration, volumes, log) is kept as found under "import/", so that nothing is lost on the way. They can be
// looked at, compared and searched; a rewind needs Docker's own container and refuses them.
#pragma once

#include <string>

#include "engine/snap.h"
#include "images/open_source.h"
#include "store/repository.h"

namespace cprewind::engine {

struct ImportResult {
    store::SnapshotRecord record;
    images::Findings findings;
    uint64_t verified_bytes = 0;
};

// Stores `source`, streaming: memory does not grow with it. `name` is the container's name, "" for the one that
// the source tells, or `fallback` when it tells none; characters that no name has become "_". Afterwards every
// stored byte is read back; damage is an Error, and the snapshot is removed again. The snapshot that the
// container's present state descends from stays what it was.
ImportResult import_checkpoint(store::Repository& repository, images::OpenedSource& source,
                               const std::string& name, const std::string& fallback, const Report& report);

}  // namespace cprewind::engine

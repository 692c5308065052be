// A snapshot as one file, for another repository: export and import.
//
// The file is tar in one zstd frame with a checksum, so that `tar --zstd -xf FILE && sha256sum -c digests.sha256` reads
// and checks it with nothing of ours, and `cprewind inspect FILE` reads it in place:
//
//   snapshot.json     {"cprewind_export":1,"id":…,"name":"web@3","info":{store/info_json.h},
//                      "parent_taken_at_ns":n|null}
//   NAME              each file of the snapshot (engine/snapshot_files.h), .catalog-rows too, in order of names
//   digests.sha256    a line "HEX  NAME" for each, as sha256sum writes them, snapshot.json included
//
// Import checks every digest before the repository sees a byte, then takes the files as `snap` does: what the repository
// has already costs nothing, and a crash leaves what a crash of `snap` leaves. The number, and where pages lie, are of the
// new repository, so the id may be, too; by container and time of the freeze a snapshot is known to be the same.
#pragma once

#include <string>

#include "images/image_source.h"
#include "store/repository.h"

namespace cprewind::engine {

// History of "cprewind_export"; never renumber.
//   1  the layout above
inline constexpr int k_export_version = 1;

// Writes to `fd`, from its position on. `name` is what messages call it. Errors: damaged when a block of the snapshot is,
// io.
void export_snapshot(const store::Repository& repository, const store::SnapshotRecord& record, int fd,
                     const std::string& name, const store::Progress& progress = {});

// Whether an opened archive is one of ours, whatever its version.
bool is_export(const images::ImageSource& files);

struct Imported {
    store::SnapshotRecord record;
    bool was_there = false;  // this moment of this container is in the repository already: nothing was done
    std::vector<std::string> dropped_tags;  // others have them here
};

// `container_name` renames the container when not empty. The container's head stays where it is, if it has one. Errors:
// unsupported (newer version), damaged (names the file).
Imported import_snapshot(store::Repository& repository, const images::ImageSource& files,
                         const std::string& container_name, const store::Progress& progress = {});

}  // namespace cprewind::engine

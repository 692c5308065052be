// The names under which a snapshot keeps its parts in the repository (docs/store-format.md lists them for
// readers).
#pragma once

#include <string>

namespace cprewind::engine {

inline constexpr const char* k_images_prefix = "images/";          // the checkpoint, as CRIU wrote it
inline constexpr const char* k_layer_tree = "layer.tree";          // images/layer.h
inline constexpr const char* k_layer_data = "layer.data";          // file data of the writable layer
inline constexpr const char* k_container_file = "container.json";  // Docker's inspect answer at that moment
inline constexpr const char* k_engine_file = "engine.json";  // how the dump was made, what a restore needs
// In engine.json: when each process started (start_times.h).
inline constexpr const char* k_started_field = "started";
inline constexpr const char* k_dump_log = "dump.log";  // CRIU's log

// Imported ones: what lay beside the images, as found.
inline constexpr const char* k_import_prefix = "import/";

}  // namespace cprewind::engine

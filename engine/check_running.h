// After a rewind: is what runs what the snapshot holds?
//
// The program runs on while we look: a rewind does not hold back its first instruction for us. So only what a
// running program cannot change by itself decides, and the rest is counted, not judged
// (docs/decisions/0047-verify-after-a-rewind.md):
//
//   decides    pid 1 is the snapshot's program; pages of the program and its libraries that nobody may write are as
//              dumped; a file of the writable layer that differs was touched after the restore began
//   counted    processes that have ended or become another program since; pages and files written since
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "engine/container.h"
#include "images/checkpoint.h"
#include "images/image_source.h"
#include "images/layer.h"

namespace cprewind::engine {

struct RunningCheck {
    bool done = false;           // false: not wanted, or there is nothing running to look at
    uint64_t processes = 0;      // of the snapshot, without zombies
    uint64_t same = 0;           // there, with the same program and command line
    uint64_t ended = 0;          // not there any more
    uint64_t changed = 0;        // there, as another program or with another command line
    uint64_t pages = 0;          // of the sample
    uint64_t pages_written = 0;  // of those, in writable memory and with other content by now
    uint64_t files_written = 0;  // files of the layer changed since the restore began
    std::vector<std::string> faults;
};

// `images`: the checkpoint's. `started_ns`: PutBack::started_ns. Never throws for what it finds.
RunningCheck check_running(const Container& now, const images::Checkpoint& wanted,
                           const images::ImageSource& images, const std::filesystem::path& layer_directory,
                           const images::LayerTree& layer, int64_t started_ns);

// For tests: what is to be read of /proc/PID/maps.
struct LiveMapping {
    uint64_t start = 0;
    uint64_t end = 0;
    bool writable = false;
    std::string path;
};
std::vector<LiveMapping> parse_maps(std::string_view text);

}  // namespace cprewind::engine

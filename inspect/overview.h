// One screen about a checkpoint.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "inspect/moment.h"

namespace cprewind::inspect {

struct Overview {
    std::optional<std::string> hostname;
    std::string architecture;
    std::optional<uint32_t> image_version;
    std::string root_command;  // comm of the first process
    uint64_t processes = 0;
    uint64_t zombies = 0;
    uint64_t threads = 0;
    uint64_t mapped_bytes = 0;
    uint64_t dumped_bytes = 0;  // private memory and, once each, shared memory objects
    uint64_t image_bytes = 0;   // all files of the source
    uint64_t open_files = 0;    // distinct open files behind all descriptors
    std::map<std::string, uint64_t> files_by_kind;
    uint64_t listening_sockets = 0;
    uint64_t established_sockets = 0;
    uint64_t mounts = 0;
    std::optional<images::DumpStatistics> statistics;
    images::Findings findings;  // all that is odd in any image, short of the content of memory
};

Overview make_overview(Moment moment);

}  // namespace cprewind::inspect

// Who had which file open.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "inspect/moment.h"

namespace cprewind::inspect {

struct FdRow {
    images::DumpPid pid;
    std::string comm;
    uint32_t fd = 0;
    images::FileKind kind = images::FileKind::unknown;
    std::string target;  // path, "pipe:[123]", "tcp 0.0.0.0:6379 LISTEN"; "" when the file's image is lost
    uint32_t flags = 0;  // O_*
    bool close_on_exec = false;
    std::optional<uint64_t> position;
    std::optional<uint64_t> size;
    bool deleted = false;
    uint32_t file_id = 0;  // equal ids: the same open file, shared by dup or fork
};

// Sorted by process (tree order) and number. A process that shares its descriptor table is listed all the
// same.
std::vector<FdRow> list_fds(const images::Checkpoint& checkpoint);

// "r", "w" or "rw" and what else matters: "rw,append,nonblock".
std::string flag_names(uint32_t flags);

}  // namespace cprewind::inspect

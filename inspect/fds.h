// Who had which file open.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "images/queues.h"
#include "inspect/holders.h"
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
    std::optional<uint32_t> mode;
    images::FileDetails details;
    // Who has the other end of a pipe, FIFO or Unix socket: at most k_ends_shown of `ends_total`.
    std::vector<Holder> other_ends;
    uint64_t ends_total = 0;
    uint64_t queued_bytes = 0;  // written and not read: pipes, FIFOs, sockets, terminals
    uint32_t file_id = 0;       // equal ids: the same open file, shared by dup or fork
};

// Sorted by process (tree order) and number. A process that shares its descriptor table is listed all the
// same.
std::vector<FdRow> list_fds(const images::Checkpoint& checkpoint);
// The same with `queued_bytes`, which are in other images.
std::vector<FdRow> list_fds(Moment moment, images::Findings& findings);

// The number under which images::load_queues() knows a file, when a queue of that kind is its own.
uint64_t queue_key(const images::File& file, images::QueueKind kind);
// Whether what waits in such a queue is read from such a file.
bool receives_from(images::FileKind file, images::QueueKind queue);

// A pipe that all of a hundred processes share would show ten thousand ends.
inline constexpr size_t k_ends_shown = 16;

// "r", "w" or "rw" and what else matters: "rw,append,nonblock".
std::string flag_names(uint32_t flags);

}  // namespace cprewind::inspect

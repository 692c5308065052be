// Bytes that were written and not yet read: in pipes, FIFOs, sockets and terminals. Only where they lie is read here;
// whoever wants them reads the image at that place.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "images/finding.h"
#include "images/image_source.h"

namespace cprewind::images {

enum class QueueKind { pipe, fifo, packet, tcp_in, tcp_out, tty };
const char* name_of(QueueKind kind);

struct Queue {
    QueueKind kind = QueueKind::pipe;
    // pipe, fifo: File::object; packet: id of the receiving file; tcp: inode of the socket; tty: its id.
    uint64_t object = 0;
    std::string image;
    uint64_t offset = 0;  // of its bytes in the image
    uint64_t size = 0;
    std::optional<uint64_t> capacity;   // pipes
    std::vector<uint32_t> descriptors;  // packets: ids of the files that travel with it
};

std::vector<Queue> load_queues(const ImageSource& source, Findings& findings);

}  // namespace cprewind::images

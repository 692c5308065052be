// System V IPC and the limits of POSIX message queues: ipcns-*-<id>.img.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "images/finding.h"
#include "images/image_source.h"

namespace cprewind::images {

// Common to all three kinds.
struct IpcOwner {
    uint64_t ipc_ns = 0;  // as in ObjectIds
    uint32_t id = 0;
    uint32_t key = 0;
    uint32_t uid = 0, gid = 0, creator_uid = 0, creator_gid = 0;
    uint32_t mode = 0;
};

struct IpcSegment {
    IpcOwner owner;
    uint64_t size = 0;
    bool in_pagemap = false;  // content: pagemap-shmem-<id>.img
    // Written by CRIU before 3.0: content is `size` bytes of the image from here.
    std::optional<uint64_t> content_offset;
};
struct IpcSemaphores {
    IpcOwner owner;
    std::vector<uint16_t> values;
};
struct IpcMessage {
    uint64_t type = 0;
    std::string text;
};
struct IpcQueue {
    IpcOwner owner;
    uint32_t limit_bytes = 0;
    std::vector<IpcMessage> messages;
};
struct Ipc {
    std::vector<IpcSegment> segments;
    std::vector<IpcSemaphores> semaphores;
    std::vector<IpcQueue> queues;
    // Limits of the namespace, by the names of /proc/sys.
    std::vector<std::pair<std::string, uint64_t>> limits;
    bool found = false;  // any image of IPC was there
};

Ipc load_ipc(const ImageSource& source, Findings& findings);

}  // namespace cprewind::images

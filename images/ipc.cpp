#include "images/ipc.h"

#include <fmt/format.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "images/image_kinds.h"
#include "images/image_reader.h"
#include "images/proto/namespaces.pb.h"

namespace cprewind::images {

namespace {

constexpr uint64_t padded(uint64_t size, uint64_t unit) {
    return (size + unit - 1) / unit * unit;
}

IpcOwner owner_of(const criu::ipc_desc_entry& entry, uint64_t ipc_ns) {
    return {ipc_ns,      entry.id(),   entry.key(),  entry.uid(),
            entry.gid(), entry.cuid(), entry.cgid(), entry.mode()};
}

void read_segments(ImageReader& reader, uint64_t ipc_ns, Ipc& out) {
    criu::ipc_shm_entry entry;
    while (reader.next(entry)) {
        IpcSegment segment{owner_of(entry.desc(), ipc_ns), entry.size(), entry.in_pagemaps(), {}};
        if (!segment.in_pagemap) {
            segment.content_offset = reader.offset();
            if (entry.size() > UINT64_MAX - 4 || !reader.extra(padded(entry.size(), 4)))
                segment.content_offset.reset();
        }
        out.segments.push_back(segment);
    }
}

void read_semaphores(ImageReader& reader, uint64_t ipc_ns, Ipc& out) {
    criu::ipc_sem_entry entry;
    while (reader.next(entry)) {
        IpcSemaphores set{owner_of(entry.desc(), ipc_ns), {}};
        auto bytes = reader.extra(padded(uint64_t{entry.nsems()} * 2, 8));
        base::Cursor cursor(bytes.value_or(std::span<const std::byte>()));
        for (uint32_t i = 0; i < entry.nsems(); ++i) {
            auto value = cursor.integer<uint16_t>();
            if (!value) break;
            set.values.push_back(reader.is_big_endian() ? base::swap_bytes(*value) : *value);
        }
        out.semaphores.push_back(std::move(set));
    }
}

// Behind a queue's entry: qnum times a size, a message of that size, and its text, padded to eight bytes.
void read_queues(ImageReader& reader, uint64_t ipc_ns, Ipc& out) {
    criu::ipc_msg_entry entry;
    while (reader.next(entry)) {
        IpcQueue queue{owner_of(entry.desc(), ipc_ns), entry.qbytes(), {}};
        for (uint32_t i = 0; i < entry.qnum(); ++i) {
            auto size = reader.extra_number();
            if (!size) break;
            auto raw = reader.extra(*size);
            criu::ipc_msg message;
            if (!raw || !message.ParsePartialFromArray(raw->data(), static_cast<int>(raw->size()))) break;
            auto text = reader.extra(padded(message.msize(), 8));
            if (!text) break;
            queue.messages.push_back(
                {message.mtype(), std::string(base::as_text(text->subspan(0, message.msize())))});
        }
        out.queues.push_back(std::move(queue));
    }
}

void read_limits(const criu::ipc_var_entry& entry, Ipc& out) {
    constexpr const char* k_semaphores[] = {"sem.msl", "sem.mns", "sem.opm", "sem.mni"};
    for (int i = 0; i < entry.sem_ctls_size() && i < 4; ++i)
        out.limits.emplace_back(k_semaphores[i], entry.sem_ctls(i));
    out.limits.emplace_back("msgmax", entry.msg_ctlmax());
    out.limits.emplace_back("msgmnb", entry.msg_ctlmnb());
    out.limits.emplace_back("msgmni", entry.msg_ctlmni());
    out.limits.emplace_back("shmmax", entry.shm_ctlmax());
    out.limits.emplace_back("shmall", entry.shm_ctlall());
    out.limits.emplace_back("shmmni", entry.shm_ctlmni());
    out.limits.emplace_back("shm_rmid_forced", entry.shm_rmid_forced());
    out.limits.emplace_back("mqueue.queues_max", entry.mq_queues_max());
    out.limits.emplace_back("mqueue.msg_max", entry.mq_msg_max());
    out.limits.emplace_back("mqueue.msgsize_max", entry.mq_msgsize_max());
}

}  // namespace

Ipc load_ipc(const ImageSource& source, Findings& findings) {
    Ipc out;
    for (const std::string& name : source.list()) {
        auto found = find_image_kind(name);
        if (!found) continue;
        std::string_view kind = found->kind->name;
        if (kind != "IPC_VAR" && kind != "IPCNS_SHM" && kind != "IPCNS_SEM" && kind != "IPCNS_MSG") continue;
        out.found = true;
        auto reader = ImageReader::open(source, name, *found->kind, findings);
        if (!reader) continue;
        if (kind == "IPCNS_SHM") read_segments(*reader, found->number, out);
        if (kind == "IPCNS_SEM") read_semaphores(*reader, found->number, out);
        if (kind == "IPCNS_MSG") read_queues(*reader, found->number, out);
        criu::ipc_var_entry limits;
        if (kind == "IPC_VAR" && reader->next(limits)) read_limits(limits, out);
    }
    return out;
}

}  // namespace cprewind::images

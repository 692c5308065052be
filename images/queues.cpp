#include "images/queues.h"

#include <algorithm>

#include "images/image_kinds.h"
#include "images/image_reader.h"
#include "images/proto/content.pb.h"

namespace cprewind::images {

namespace {

void read_pipes(ImageReader& reader, QueueKind kind, std::vector<Queue>& out) {
    criu::pipe_data_entry entry;
    while (reader.next(entry)) {
        Queue queue{kind, entry.pipe_id(), reader.name(), reader.offset(), entry.bytes(), {}, {}};
        if (entry.has_size()) queue.capacity = entry.size();
        if (entry.bytes() > 0 && !reader.skip(entry.bytes())) queue.size = 0;
        out.push_back(std::move(queue));
    }
}

void read_packets(ImageReader& reader, std::vector<Queue>& out) {
    criu::sk_packet_entry entry;
    while (reader.next(entry)) {
        Queue queue{
            QueueKind::packet, entry.id_for(), reader.name(), reader.offset(), entry.length(), {}, {}};
        for (const auto& message : entry.scm()) {
            queue.descriptors.insert(queue.descriptors.end(), message.rights().begin(),
                                     message.rights().end());
        }
        if (!reader.skip(entry.length())) queue.size = 0;
        out.push_back(std::move(queue));
    }
}

void read_tcp(ImageReader& reader, uint64_t inode, std::vector<Queue>& out) {
    criu::tcp_stream_entry entry;
    if (!reader.next(entry)) return;
    uint64_t offset = reader.offset();
    if (reader.skip(entry.inq_len()))
        out.push_back({QueueKind::tcp_in, inode, reader.name(), offset, entry.inq_len(), {}, {}});
    offset = reader.offset();
    if (reader.skip(entry.outq_len()))
        out.push_back({QueueKind::tcp_out, inode, reader.name(), offset, entry.outq_len(), {}, {}});
}

void read_terminals(ImageReader& reader, std::vector<Queue>& out) {
    criu::tty_data_entry entry;
    while (reader.next(entry)) {
        // The bytes are the message's last field, and so the last of the entry.
        uint64_t size = entry.data().size();
        uint64_t offset = reader.offset() - std::min(size, reader.offset());
        out.push_back({QueueKind::tty, entry.tty_id(), reader.name(), offset, size, {}, {}});
    }
}

}  // namespace

const char* name_of(QueueKind kind) {
    switch (kind) {
        case QueueKind::pipe:
            return "pipe";
        case QueueKind::fifo:
            return "fifo";
        case QueueKind::packet:
            return "packet";
        case QueueKind::tcp_in:
            return "tcp in";
        case QueueKind::tcp_out:
            return "tcp out";
        case QueueKind::tty:
            break;
    }
    return "terminal";
}

std::vector<Queue> load_queues(const ImageSource& source, Findings& findings) {
    std::vector<Queue> out;
    for (const std::string& name : source.list()) {
        auto found = find_image_kind(name);
        if (!found) continue;
        std::string_view kind = found->kind->name;
        bool queued = kind == "PIPES_DATA" || kind == "FIFO_DATA" || kind == "SK_QUEUES" ||
                      kind == "TCP_STREAM" || kind == "TTY_DATA";
        if (!queued) continue;
        auto reader = ImageReader::open(source, name, *found->kind, findings);
        if (!reader) continue;
        if (kind == "PIPES_DATA") read_pipes(*reader, QueueKind::pipe, out);
        if (kind == "FIFO_DATA") read_pipes(*reader, QueueKind::fifo, out);
        if (kind == "SK_QUEUES") read_packets(*reader, out);
        if (kind == "TCP_STREAM") read_tcp(*reader, found->number, out);
        if (kind == "TTY_DATA") read_terminals(*reader, out);
    }
    return out;
}

}  // namespace cprewind::images

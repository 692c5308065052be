#include "images/image_check.h"

#include <google/protobuf/message.h>

#include <memory>

#include "images/image_reader.h"
#include "images/proto/content.pb.h"
#include "images/proto/memory.pb.h"
#include "images/proto/namespaces.pb.h"

namespace cprewind::images {

namespace {

using google::protobuf::Message;

constexpr uint64_t padded(uint64_t size, uint64_t multiple) {
    return (size + multiple - 1) / multiple * multiple;
}

// u32 size, ipc_msg, text; so often. False where the image ends in the middle of it.
bool skip_messages(ImageReader& reader, uint32_t count) {
    for (uint32_t i = 0; i < count; ++i) {
        auto size = reader.extra_number();
        auto raw = size ? reader.extra(*size) : std::nullopt;
        criu::ipc_msg head;
        if (!raw) return false;
        if (!head.ParsePartialFromArray(raw->data(), static_cast<int>(raw->size()))) {
            reader.report(FindingKind::damaged, "the head of a message in the queue is none");
            return false;
        }
        if (!reader.skip(padded(head.msize(), 8))) return false;
    }
    return true;
}

bool skip_payload(Payload payload, const Message& message, ImageReader& reader) {
    switch (payload) {
        case Payload::none:
        case Payload::pagemap:
            return true;
        case Payload::pipe:
            return reader.skip(static_cast<const criu::pipe_data_entry&>(message).bytes());
        case Payload::packet:
            return reader.skip(static_cast<const criu::sk_packet_entry&>(message).length());
        case Payload::tcp: {
            const auto& entry = static_cast<const criu::tcp_stream_entry&>(message);
            return reader.skip(entry.inq_len()) && reader.skip(entry.outq_len());
        }
        case Payload::bpf_map: {
            const auto& entry = static_cast<const criu::bpfmap_data_entry&>(message);
            return reader.skip(entry.keys_bytes()) && reader.skip(entry.values_bytes());
        }
        case Payload::semaphores:
            return reader.skip(
                padded(uint64_t{2} * static_cast<const criu::ipc_sem_entry&>(message).nsems(), 8));
        case Payload::messages:
            return skip_messages(reader, static_cast<const criu::ipc_msg_entry&>(message).qnum());
        case Payload::shared_memory: {
            const auto& entry = static_cast<const criu::ipc_shm_entry&>(message);
            uint64_t size = entry.in_pagemaps() ? 0 : entry.size();
            return reader.skip(size > UINT64_MAX - 4 ? size : padded(size, 4));
        }
        case Payload::ghost: {
            if (!static_cast<const criu::ghost_file_entry&>(message).chunks())
                return reader.skip(reader.left());
            criu::ghost_chunk_entry chunk;
            while (reader.next(chunk)) {
                if (!reader.skip(chunk.len())) return false;
            }
            return true;
        }
    }
    return false;
}

}  // namespace

void check_image(const ImageSource& source, std::string_view name, const ImageKind& kind,
                 Findings& findings) {
    if (kind.head == ImageHead::raw) return;
    auto reader = ImageReader::open(source, name, kind, findings);
    if (!reader) return;
    std::unique_ptr<Message> message(kind.message().New());
    while (reader->next(*message) && skip_payload(kind.payload, *message, *reader)) {
    }
}

}  // namespace cprewind::images

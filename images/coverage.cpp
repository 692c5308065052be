#include "images/coverage.h"

#include <google/protobuf/message.h>
#include <google/protobuf/unknown_field_set.h>
#include <google/protobuf/wire_format.h>

#include <algorithm>
#include <map>
#include <memory>
#include <set>

#include "base/bytes.h"
#include "images/checkpoint.h"
#include "images/image_kinds.h"
#include "images/image_reader.h"
#include "images/page_counts.h"
#include "images/proto/content.pb.h"
#include "images/proto/memory.pb.h"
#include "images/proto/namespaces.pb.h"

namespace cprewind::images {

namespace {

using google::protobuf::Message;

// As much as protobuf reads of one message without being asked.
constexpr uint64_t k_message_limit = 64u << 20;

uint64_t unknown_bytes(const Message& message) {
    const auto& get = *message.GetReflection();
    uint64_t bytes =
        google::protobuf::internal::WireFormat::ComputeUnknownFieldsSize(get.GetUnknownFields(message));
    std::vector<const google::protobuf::FieldDescriptor*> fields;
    get.ListFields(message, &fields);
    for (const auto* field : fields) {
        if (field->cpp_type() != google::protobuf::FieldDescriptor::CPPTYPE_MESSAGE) continue;
        int count = field->is_repeated() ? get.FieldSize(message, field) : 1;
        for (int i = 0; i < count; ++i) {
            bytes += unknown_bytes(field->is_repeated() ? get.GetRepeatedMessage(message, field, i)
                                                        : get.GetMessage(message, field));
        }
    }
    return bytes;
}

constexpr uint64_t padded(uint64_t size, uint64_t multiple) {
    return (size + multiple - 1) / multiple * multiple;
}

// Goes through one image, entry by entry. What it can follow is `known`; the walk ends where it cannot go on.
class Walk {
 public:
    Walk(const ImageFile& file, const ImageKind& kind) : file_(file), kind_(kind), size_(file.size()) {}

    void run() {
        if (!read_head()) return;
        std::unique_ptr<Message> message(kind_.message().New());
        criu::pagemap_head head;
        bool first = true;
        while (offset_ < size_) {
            bool is_head = first && kind_.payload == Payload::pagemap;
            first = false;
            Message& entry = is_head ? static_cast<Message&>(head) : *message;
            bool parsed = read_message(entry);
            // Without its sizes the payload cannot be told from the next entry.
            bool lost = !framed_ || (!parsed && kind_.payload != Payload::none) || !skip_payload(entry);
            if (lost) return;
            mark();
        }
    }

    // Of what is before the place where the walk ended.
    uint64_t known() const { return known_ - known_unknown_ - known_no_messages_; }
    uint64_t unknown() const { return known_unknown_; }

 private:
    std::optional<uint32_t> number() {
        std::byte raw[4];
        if (size_ - offset_ < sizeof(raw) || file_.read_at(offset_, raw) != sizeof(raw)) return std::nullopt;
        offset_ += sizeof(raw);
        uint32_t value = *base::Cursor(raw).integer<uint32_t>();
        return big_endian_ ? base::swap_bytes(value) : value;
    }

    bool read_head() {
        auto first = number();
        if (!first) return false;
        if (is_swapped_head(*first)) {
            big_endian_ = true;
            first = base::swap_bytes(*first);
        }
        bool has_head = *first == k_common_magic || *first == k_service_magic;
        auto magic = has_head ? number() : first;
        if (!magic || *magic != kind_.magic) return false;
        mark();
        return true;
    }

    void mark() {
        known_ = offset_;
        known_unknown_ = unknown_;
        known_no_messages_ = no_messages_;
    }

    bool read_message(Message& message) {
        auto size = number();
        framed_ = size && *size <= size_ - offset_ && *size <= k_message_limit;
        if (!framed_) return false;
        std::string bytes(*size, '\0');
        framed_ = file_.read_at(offset_, std::as_writable_bytes(std::span(bytes))) == bytes.size();
        offset_ += *size;
        if (!framed_) return false;
        message.Clear();
        if (!message.ParsePartialFromString(bytes)) {
            no_messages_ += bytes.size();
            return false;
        }
        unknown_ += std::min<uint64_t>(unknown_bytes(message), bytes.size());
        return true;
    }

    bool skip(uint64_t size) {
        if (size > size_ - offset_) return false;
        offset_ += size;
        return true;
    }

    bool skip_payload(const Message& message) {
        switch (kind_.payload) {
            case Payload::none:
            case Payload::pagemap:
                return true;
            case Payload::pipe:
                return skip(static_cast<const criu::pipe_data_entry&>(message).bytes());
            case Payload::packet:
                return skip(static_cast<const criu::sk_packet_entry&>(message).length());
            case Payload::tcp: {
                const auto& entry = static_cast<const criu::tcp_stream_entry&>(message);
                return skip(entry.inq_len()) && skip(entry.outq_len());
            }
            case Payload::bpf_map: {
                const auto& entry = static_cast<const criu::bpfmap_data_entry&>(message);
                return skip(entry.keys_bytes()) && skip(entry.values_bytes());
            }
            case Payload::semaphores:
                return skip(
                    padded(uint64_t{2} * static_cast<const criu::ipc_sem_entry&>(message).nsems(), 8));
            case Payload::messages: {
                uint32_t count = static_cast<const criu::ipc_msg_entry&>(message).qnum();
                criu::ipc_msg head;
                for (uint32_t i = 0; i < count; ++i) {
                    if (!read_message(head) || !skip(padded(head.msize(), 8))) return false;
                }
                return true;
            }
            case Payload::shared_memory: {
                const auto& entry = static_cast<const criu::ipc_shm_entry&>(message);
                return entry.in_pagemaps() || (entry.size() <= size_ && skip(padded(entry.size(), 4)));
            }
            case Payload::ghost: {
                if (!static_cast<const criu::ghost_file_entry&>(message).chunks())
                    return skip(size_ - offset_);
                criu::ghost_chunk_entry chunk;
                while (offset_ < size_) {
                    mark();
                    if (!read_message(chunk) || !skip(chunk.len())) return false;
                }
                return true;
            }
        }
        return false;
    }

    const ImageFile& file_;
    const ImageKind& kind_;
    uint64_t size_;
    uint64_t offset_ = 0;
    uint64_t unknown_ = 0;      // bytes of unknown fields
    uint64_t no_messages_ = 0;  // bytes of entries that are no such message
    uint64_t known_ = 0;        // up to here it made sense; the two above as they were there
    uint64_t known_unknown_ = 0;
    uint64_t known_no_messages_ = 0;
    bool big_endian_ = false;
    bool framed_ = true;
};

// The size of a page is not recorded: one of three, the one that fits.
uint64_t claimed_bytes(uint64_t size, uint64_t pages) {
    for (uint64_t page : {4096u, 16384u, 65536u}) {
        if (pages > 0 && size % page == 0 && size / page == pages) return size;
    }
    return pages > size / 4096 ? size : pages * 4096;
}

// What lies beside the images and is none.
bool is_companion(std::string_view name) {
    return name == "descriptors.json" || name.ends_with(".log") || name.ends_with(".cropt");
}

FileCoverage cover_file(const ImageSource& source, const std::string& name,
                        const std::map<uint64_t, uint64_t>& pages) {
    FileCoverage out;
    out.file = name;
    auto file = source.open(name);
    if (!file) return out;
    out.size = file->size();
    auto found = find_image_kind(name);
    if (!found) {
        (is_companion(name) ? out.unread : out.unknown_file) = out.size;
        return out;
    }
    const ImageKind& kind = *found->kind;
    out.kind = kind.name;
    if (out.kind == "PAGES") {
        auto count = pages.find(found->number);
        out.understood = count == pages.end() ? 0 : claimed_bytes(out.size, count->second);
        out.senseless = out.size - out.understood;
    } else if (kind.head == ImageHead::raw) {
        out.unread = out.size;
    } else {
        Walk walk(*file, kind);
        walk.run();
        (is_in_model(kind) ? out.understood : out.decoded) = walk.known();
        out.unknown_field = walk.unknown();
        out.senseless = out.size - walk.known() - walk.unknown();
    }
    return out;
}

}  // namespace

FileCoverage& FileCoverage::operator+=(const FileCoverage& other) {
    size += other.size;
    understood += other.understood;
    decoded += other.decoded;
    unread += other.unread;
    unknown_field += other.unknown_field;
    unknown_file += other.unknown_file;
    senseless += other.senseless;
    return *this;
}

uint64_t FileCoverage::sum() const {
    return understood + decoded + unread + unknown_field + unknown_file + senseless;
}

Coverage cover(const ImageSource& source) {
    Coverage out;
    std::vector<std::string> names = source.list();
    std::map<uint64_t, uint64_t> pages = count_pages(source).present;
    for (const std::string& name : names) {
        out.files.push_back(cover_file(source, name, pages));
        out.total += out.files.back();
    }
    return out;
}

}  // namespace cprewind::images

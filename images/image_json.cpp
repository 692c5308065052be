#include "images/image_json.h"

#include <fmt/format.h>
#include <google/protobuf/message.h>
#include <google/protobuf/unknown_field_set.h>

#include <algorithm>

#include "base/bytes.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/text.h"
#include "images/image_kinds.h"
#include "images/image_reader.h"
#include "images/proto/content.pb.h"
#include "images/proto/memory.pb.h"
#include "images/proto/namespaces.pb.h"

namespace cprewind::images {

namespace {

using google::protobuf::Message;

// Enough for the mm of a process with the most mappings that Linux allows, and any ghost file CRIU dumps
// unless told otherwise; a larger one is not for JSON.
constexpr uint64_t k_image_limit = 256u << 20;

constexpr uint64_t padding_of(uint64_t size, uint64_t multiple) {
    return (multiple - size % multiple) % multiple;
}

// Fields of an entry by name: payload sizes are of many messages, and all u32 but for shared memory.
uint64_t number(const Message& message, const char* name) {
    const auto* field = message.GetDescriptor()->FindFieldByName(name);
    CPREWIND_CHECK(field != nullptr);
    using google::protobuf::FieldDescriptor;
    const auto& get = *message.GetReflection();
    if (field->cpp_type() == FieldDescriptor::CPPTYPE_BOOL) return get.GetBool(message, field);
    return field->cpp_type() == FieldDescriptor::CPPTYPE_UINT64 ? get.GetUInt64(message, field)
                                                                : get.GetUInt32(message, field);
}

// The word before the magic of a kind, if there is one.
std::optional<uint32_t> head_of(const ImageKind& kind) {
    if (kind.head == ImageHead::common) return k_common_magic;
    if (kind.head == ImageHead::service) return k_service_magic;
    return std::nullopt;
}

std::string serialize(const Message& message) {
    return message.SerializePartialAsString();
}

class Decoder {
 public:
    Decoder(std::string_view bytes, std::string_view name, Findings& findings)
        : cursor_(base::as_bytes(bytes)), bytes_(bytes), name_(name), findings_(findings) {}

    Json run() {
        const ImageKind& kind = read_head();
        std::unique_ptr<Message> message(kind.message().New());
        Json entries = Json::array();
        if (kind.payload == Payload::pagemap && !cursor_.at_end()) {
            criu::pagemap_head head;
            if (auto entry = read_entry(head)) entries.push_back(std::move(*entry));
        }
        while (!cursor_.at_end() && !broken_) {
            entry_offset_ = cursor_.offset();
            auto entry = read_entry(*message);
            if (entry) {
                // Without its sizes the payload is as unknown as the message: all that follows is lost.
                if (kind.payload != Payload::none && !parsed_) broken_ = true;
                if (!broken_ && !read_payload(kind.payload, *message, *entry, entries)) broken_ = true;
            }
            if (broken_) {
                cursor_ = base::Cursor(base::as_bytes(bytes_.substr(entry_offset_)));
                break;
            }
            entries.push_back(std::move(*entry));
        }
        root_["entries"] = std::move(entries);
        if (broken_) root_["rest"] = to_base64_lines(bytes_.substr(entry_offset_));
        return std::move(root_);
    }

 private:
    const ImageKind& read_head() {
        auto first = cursor_.integer<uint32_t>();
        if (first && is_swapped_head(*first)) {
            big_endian_ = true;
            first = base::swap_bytes(*first);
        }
        bool has_head = first == k_common_magic || first == k_service_magic;
        auto magic = has_head ? cursor_.integer<uint32_t>() : first;
        if (has_head && magic) magic = in_order(*magic);
        auto named = find_image_kind(name_);
        const ImageKind* kind = nullptr;
        if (magic && named && named->kind->head != ImageHead::raw && named->kind->magic == *magic) {
            kind = named->kind;
        } else if (magic) {
            kind = find_image_kind_by_magic(*magic);
        }
        if (kind == nullptr) {
            bool raw = named && named->kind->head == ImageHead::raw;
            throw base::Error(base::ErrorKind::unsupported,
                              fmt::format("{} {}", base::escape(name_),
                                          raw              ? "is raw data without structure"
                                          : bytes_.empty() ? "is empty"
                                                           : "starts with no magic of an image"),
                              raw ? "`cprewind inspect` shows memory and files" : "");
        }
        // crit knows one name a magic.
        root_["magic"] = find_image_kind_by_magic(kind->magic)->name;
        if (!has_head && kind->head != ImageHead::bare) root_["image_version"] = 1;
        if (big_endian_) root_["byte_order"] = "big";
        if (has_head && first != head_of(*kind))
            root_["head"] = first == k_common_magic ? "common" : "service";
        entry_offset_ = cursor_.offset();
        return *kind;
    }

    void report(FindingKind kind, std::string message) {
        add_finding(findings_, {kind, std::string(name_), entry_offset_, std::move(message)});
    }

    std::optional<std::string_view> take(uint64_t size) {
        auto part = cursor_.bytes(size);
        if (!part) {
            report(FindingKind::truncated,
                   fmt::format("{} bytes should follow, but only {} are left", size, cursor_.left()));
            broken_ = true;
            return std::nullopt;
        }
        return base::as_text(*part);
    }

    // A size and a message; what of it the fields do not tell is kept beside them.
    std::optional<Json> read_entry(Message& message) {
        auto head = take(sizeof(uint32_t));
        if (!head) return std::nullopt;
        auto payload = take(in_order(*base::Cursor(base::as_bytes(*head)).integer<uint32_t>()));
        if (!payload) return std::nullopt;
        message.Clear();
        Json entry = Json::object();
        parsed_ = message.ParsePartialFromArray(payload->data(), static_cast<int>(payload->size()));
        if (parsed_) {
            entry = message_to_json(message);
            std::vector<std::string> unknown = unknown_fields(message);
            if (unknown.empty()) {
                std::unique_ptr<Message> again(message.New());
                json_to_message(entry, *again);
                if (serialize(*again) == *payload) return entry;
            } else {
                report(FindingKind::unknown,
                       fmt::format("{} has fields or values that this version does not know: {}",
                                   message.GetDescriptor()->name(), base::join(unknown, ", ")));
                entry["unknown_fields"] = unknown;
            }
        } else {
            report(FindingKind::damaged, fmt::format("an entry of {} bytes that is not a {}", payload->size(),
                                                     message.GetDescriptor()->name()));
        }
        entry["raw"] = to_base64_lines(*payload);
        return entry;
    }

    // Adds "extra" to `entry`; of ghost files in chunks, the entries that follow. False: the data ends too
    // early.
    bool read_payload(Payload payload, const Message& message, Json& entry, Json& entries) {
        switch (payload) {
            case Payload::none:
            case Payload::pagemap:
                return true;
            case Payload::pipe:
                return read_extra(number(message, "bytes"), entry);
            case Payload::packet:
                return read_extra(number(message, "length"), entry);
            case Payload::bpf_map:
                return read_extra(number(message, "keys_bytes") + number(message, "values_bytes"), entry);
            case Payload::tcp: {
                auto in = take(number(message, "inq_len"));
                auto out = in ? take(number(message, "outq_len")) : std::nullopt;
                if (!out) return false;
                entry["extra"] = {{"inq", to_base64_lines(*in)}, {"outq", to_base64_lines(*out)}};
                return true;
            }
            case Payload::semaphores:
                return read_semaphores(number(message, "nsems"), entry);
            case Payload::messages:
                return read_messages(number(message, "qnum"), entry);
            case Payload::shared_memory: {
                bool elsewhere = number(message, "in_pagemaps") != 0;
                uint64_t size = elsewhere ? 0 : number(message, "size");
                std::string padding;
                if (!read_extra(size, entry) || !skip_padding(padding_of(size, 4), padding)) return false;
                keep_padding(entry, padding);
                return true;
            }
            case Payload::ghost:
                if (number(message, "chunks") == 0) return read_extra(cursor_.left(), entry);
                return read_chunks(entry, entries);
        }
        return false;
    }

    bool read_extra(uint64_t size, Json& entry) {
        auto bytes = take(size);
        if (bytes) entry["extra"] = to_base64_lines(*bytes);
        return bytes.has_value();
    }

    bool skip_padding(uint64_t size, std::string& padding) {
        auto bytes = take(size);
        if (bytes) padding += *bytes;
        return bytes.has_value();
    }

    static void keep_padding(Json& entry, const std::string& padding) {
        if (padding.find_first_not_of('\0') != std::string::npos) entry["padding"] = to_base64_lines(padding);
    }

    bool read_semaphores(uint64_t count, Json& entry) {
        auto values = take(count * 2);
        std::string padding;
        if (!values || !skip_padding(padding_of(count * 2, 8), padding)) return false;
        base::Cursor cursor(base::as_bytes(*values));
        Json list = Json::array();
        while (auto value = cursor.integer<uint16_t>()) list.push_back(in_order(*value));
        entry["extra"] = std::move(list);
        keep_padding(entry, padding);
        return true;
    }

    bool read_messages(uint64_t count, Json& entry) {
        Json list = Json::array();
        std::string padding;
        criu::ipc_msg message;
        for (uint64_t i = 0; i < count; ++i) {
            auto head = read_entry(message);
            if (!head || !parsed_) return false;
            auto bytes = take(message.msize());
            if (!bytes || !skip_padding(padding_of(message.msize(), 8), padding)) return false;
            list.push_back(std::move(*head));
            list.push_back(to_base64_lines(*bytes));
        }
        entry["extra"] = std::move(list);
        keep_padding(entry, padding);
        return true;
    }

    bool read_chunks(Json& entry, Json& entries) {
        criu::ghost_chunk_entry chunk;
        entries.push_back(std::move(entry));
        while (!cursor_.at_end()) {
            entry_offset_ = cursor_.offset();
            auto head = read_entry(chunk);
            if (!head || !parsed_ || !read_extra(chunk.len(), *head)) return false;
            entries.push_back(std::move(*head));
        }
        // run() appends the last one.
        entry = std::move(entries.back());
        entries.erase(entries.end() - 1);
        return true;
    }

    template <typename T>
    T in_order(T value) const {
        return big_endian_ ? base::swap_bytes(value) : value;
    }

    base::Cursor cursor_;
    bool big_endian_ = false;
    std::string_view bytes_;
    std::string_view name_;
    Findings& findings_;
    Json root_ = Json::object();
    size_t entry_offset_ = 0;
    bool parsed_ = false;  // the last message was one
    bool broken_ = false;  // from entry_offset_ on nothing makes sense
};

[[noreturn]] void refuse(std::string message) {
    throw base::Error(base::ErrorKind::usage, std::move(message));
}

const Json& member(const Json& object, const char* key, std::string_view what) {
    auto found = object.is_object() ? object.find(key) : object.end();
    if (!object.is_object() || found == object.end()) refuse(fmt::format("{} lacks \"{}\"", what, key));
    return *found;
}

class Encoder {
 public:
    std::string run(const Json& json) {
        const Json& magic = member(json, "magic", "an image");
        const ImageKind* kind =
            magic.is_string() ? find_image_kind_by_name(magic.get_ref<const std::string&>()) : nullptr;
        if (kind == nullptr || kind->head == ImageHead::raw) refuse("\"magic\" is no image that has entries");
        const Json& entries = member(json, "entries", "an image");
        if (!entries.is_array()) refuse("\"entries\" should be a list");

        bool old = json.contains("image_version") && json["image_version"] == 1;
        big_endian_ = json.contains("byte_order") && json["byte_order"] == "big";
        auto head = head_of(*kind);
        if (json.contains("head")) head = json["head"] == "service" ? k_service_magic : k_common_magic;
        if (head && !old) append(*head);
        append(kind->magic);
        for (size_t i = 0; i < entries.size(); ++i) write(*kind, entries[i], i == 0);
        if (json.contains("rest")) out_ += parse_base64(json["rest"]);
        return std::move(out_);
    }

 private:
    void write(const ImageKind& kind, const Json& entry, bool first) {
        criu::pagemap_head head;
        criu::ghost_chunk_entry chunk;
        if (kind.payload == Payload::pagemap && first) return write_entry(entry, head);
        if (kind.payload == Payload::ghost && !first) {
            write_entry(entry, chunk);
            out_ += parse_base64(member(entry, "extra", "a chunk"));
            return;
        }
        std::unique_ptr<Message> message(kind.message().New());
        if (kind.payload == Payload::pagemap && entry.is_object() && entry.contains("nr_pages") &&
            !entry.contains("compat_nr_pages") && !entry.contains("raw")) {
            // As crit up to 4.1 calls the count; since 4.2 the old field has another name and is never absent (but
            // where we decoded an entry without it, and then kept its bytes).
            Json renamed = entry;
            renamed["compat_nr_pages"] = entry["nr_pages"];
            renamed.erase("nr_pages");
            return write_entry(renamed, *message);
        }
        write_entry(entry, *message);
        write_payload(kind.payload, *message, entry);
    }

    void write_entry(const Json& entry, Message& message) {
        json_to_message(entry, message);
        std::string bytes = serialize(message);
        if (auto raw = entry.find("raw"); raw != entry.end()) {
            std::string original = parse_base64(*raw);
            std::unique_ptr<Message> as_written(message.New());
            bool parsed = as_written->ParsePartialFromString(original);
            Json fields = parsed ? message_to_json(*as_written) : Json::object();
            // Compared as messages: the fields of `entry` may be pretty.
            if (fields == message_to_json(message)) {
                bytes = std::move(original);
                if (parsed) message.CopyFrom(*as_written);
            }
        }
        append(static_cast<uint32_t>(bytes.size()));
        out_ += bytes;
    }

    template <typename T>
    void append(T number) {
        base::append_integer(out_, big_endian_ ? base::swap_bytes(number) : number);
    }

    void write_payload(Payload payload, const Message& message, const Json& entry) {
        if (payload == Payload::none || payload == Payload::pagemap) return;
        if (payload == Payload::ghost && number(message, "chunks") != 0) return;
        const Json& extra = member(entry, "extra", message.GetDescriptor()->name());
        std::string padding = entry.contains("padding") ? parse_base64(entry["padding"]) : "";
        switch (payload) {
            case Payload::tcp:
                out_ += parse_base64(member(extra, "inq", "\"extra\""));
                out_ += parse_base64(member(extra, "outq", "\"extra\""));
                return;
            case Payload::semaphores:
                if (!extra.is_array() || extra.size() != number(message, "nsems"))
                    refuse("\"extra\" should be a list of nsems numbers");
                for (const Json& value : extra) {
                    if (!value.is_number_unsigned() || value.get<uint64_t>() > 0xffff)
                        refuse("a semaphore should be a number up to 65535");
                    append(value.get<uint16_t>());
                }
                return pad(extra.size() * 2, 8, padding);
            case Payload::messages:
                if (!extra.is_array() || extra.size() % 2 != 0) refuse("\"extra\" should be a list of pairs");
                for (size_t i = 0; i < extra.size(); i += 2) {
                    criu::ipc_msg head;
                    write_entry(extra[i], head);
                    std::string text = parse_base64(extra[i + 1]);
                    out_ += text;
                    pad(text.size(), 8, padding);
                }
                return;
            case Payload::shared_memory: {
                std::string bytes = parse_base64(extra);
                out_ += bytes;
                return pad(bytes.size(), 4, padding);
            }
            default:
                out_ += parse_base64(extra);
        }
    }

    // Takes what it needs from the front of `padding`, then zeros.
    void pad(uint64_t size, uint64_t multiple, std::string& padding) {
        size_t count = static_cast<size_t>(padding_of(size, multiple));
        std::string part = padding.substr(0, count);
        padding.erase(0, count);
        part.resize(count, '\0');
        out_ += part;
    }

    std::string out_;
    bool big_endian_ = false;
};

}  // namespace

Json decode_image(const ImageFile& file, std::string_view name, Findings& findings) {
    if (file.size() > k_image_limit) {
        throw base::Error(base::ErrorKind::unsupported,
                          fmt::format("{} has {}, more than fits in JSON ({})", base::escape(name),
                                      base::human_bytes(file.size()), base::human_bytes(k_image_limit)));
    }
    std::string bytes(static_cast<size_t>(file.size()), '\0');
    bytes.resize(file.read_at(0, std::as_writable_bytes(std::span(bytes))));
    return Decoder(bytes, name, findings).run();
}

std::string encode_image(const Json& json) {
    return Encoder().run(json);
}

}  // namespace cprewind::images

#include "images/message_json.h"

#include <fmt/format.h>
#include <google/protobuf/message.h>

#include <array>
#include <limits>

#include "base/error.h"
#include "base/text.h"
#include "images/pretty_json.h"

namespace cprewind::images {

namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

// The most that protobuf itself reads.
constexpr int k_depth_limit = 100;

[[noreturn]] void refuse(const FieldDescriptor& field, std::string_view expected) {
    throw base::Error(base::ErrorKind::usage, fmt::format("{} should be {}", field.full_name(), expected));
}

bool is_quoted_printable(const FieldDescriptor& field) {
    return field.name() == "name" && field.containing_type()->name() == "unix_sk_entry";
}

// As Python's quopri.encodestring: RFC 2045, newlines kept, blanks encoded only at the end of a line.
std::string to_quoted_printable(std::string_view bytes) {
    constexpr size_t k_line = 76;
    constexpr const char* k_digits = "0123456789ABCDEF";
    std::string out;
    size_t width = 0;
    auto put_hex = [&](char byte) {
        auto value = static_cast<unsigned char>(byte);
        out += {'=', k_digits[value >> 4], k_digits[value & 15]};
    };
    size_t first_newline = bytes.find('\n');
    bool crlf =
        first_newline != std::string_view::npos && first_newline > 0 && bytes[first_newline - 1] == '\r';
    const char* newline = crlf ? "\r\n" : "\n";
    for (size_t i = 0; i < bytes.size(); ++i) {
        auto byte = static_cast<unsigned char>(bytes[i]);
        bool last = i + 1 == bytes.size();
        char next = last ? '\0' : bytes[i + 1];
        bool blank = byte == ' ' || byte == '\t';
        bool lone_dot = byte == '.' && width == 0 && (next == '\n' || next == '\r' || next == '\0');
        if (byte > 126 || byte == '=' || lone_dot || (blank && last) ||
            (byte < 33 && byte != '\r' && byte != '\n' && !blank)) {
            if (width + 3 >= k_line) {
                out += '=';
                out += newline;
                width = 0;
            }
            put_hex(bytes[i]);
            width += 3;
        } else if (byte == '\n' || (byte == '\r' && next == '\n')) {
            width = 0;
            if (!out.empty() && (out.back() == ' ' || out.back() == '\t')) {
                char blank_before = out.back();
                out.pop_back();
                put_hex(blank_before);
            }
            out += newline;
            if (byte == '\r') ++i;
        } else {
            if (!last && next != '\n' && width + 1 >= k_line) {
                out += '=';
                out += newline;
                width = 0;
            }
            ++width;
            out += bytes[i];
        }
    }
    return out;
}

int hex_digit(char digit) {
    if (digit >= '0' && digit <= '9') return digit - '0';
    if (digit >= 'A' && digit <= 'F') return digit - 'A' + 10;
    if (digit >= 'a' && digit <= 'f') return digit - 'a' + 10;
    return -1;
}

std::string parse_quoted_printable(std::string_view text) {
    std::string out;
    for (size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '=') {
            out += text[i];
            continue;
        }
        std::string_view rest = text.substr(i + 1);
        if (rest.starts_with("\r\n")) {
            i += 2;
        } else if (rest.starts_with("\n")) {
            i += 1;
        } else if (rest.size() >= 2 && hex_digit(rest[0]) >= 0 && hex_digit(rest[1]) >= 0) {
            out += static_cast<char>(hex_digit(rest[0]) * 16 + hex_digit(rest[1]));
            i += 2;
        } else {
            out += '=';
        }
    }
    return out;
}

// `index` is of a repeated field, else -1.
Json value_to_json(const Message& message, const FieldDescriptor& field, int index) {
    const Reflection& get = *message.GetReflection();
    bool many = index >= 0;
    std::string scratch;
    switch (field.cpp_type()) {
        case FieldDescriptor::CPPTYPE_INT32:
            return many ? get.GetRepeatedInt32(message, &field, index) : get.GetInt32(message, &field);
        case FieldDescriptor::CPPTYPE_INT64:
            return many ? get.GetRepeatedInt64(message, &field, index) : get.GetInt64(message, &field);
        case FieldDescriptor::CPPTYPE_UINT32:
            return many ? get.GetRepeatedUInt32(message, &field, index) : get.GetUInt32(message, &field);
        case FieldDescriptor::CPPTYPE_UINT64:
            return many ? get.GetRepeatedUInt64(message, &field, index) : get.GetUInt64(message, &field);
        case FieldDescriptor::CPPTYPE_BOOL:
            return many ? get.GetRepeatedBool(message, &field, index) : get.GetBool(message, &field);
        case FieldDescriptor::CPPTYPE_ENUM:
            return (many ? get.GetRepeatedEnum(message, &field, index) : get.GetEnum(message, &field))
                ->name();
        case FieldDescriptor::CPPTYPE_MESSAGE:
            return message_to_json(many ? get.GetRepeatedMessage(message, &field, index)
                                        : get.GetMessage(message, &field));
        case FieldDescriptor::CPPTYPE_STRING: {
            const std::string& bytes = many ? get.GetRepeatedStringReference(message, &field, index, &scratch)
                                            : get.GetStringReference(message, &field, &scratch);
            if (field.type() == FieldDescriptor::TYPE_BYTES)
                return is_quoted_printable(field) ? to_quoted_printable(bytes) : to_base64_lines(bytes);
            if (base::is_utf8(bytes)) return bytes;
            return Json{{"base64", to_base64_lines(bytes)}};
        }
        case FieldDescriptor::CPPTYPE_DOUBLE:
        case FieldDescriptor::CPPTYPE_FLOAT:
            break;
    }
    base::check_failed("no image has floating point fields", __FILE__, __LINE__);
}

template <typename Integer>
Integer integer_of(const Json& json, const FieldDescriptor& field) {
    using Limits = std::numeric_limits<Integer>;
    auto shown = json.is_string() ? parse_pretty(field, json.get_ref<const std::string&>()) : std::nullopt;
    if (json.is_number_unsigned() || shown) {
        uint64_t value = shown ? *shown : json.get<uint64_t>();
        if (value <= static_cast<uint64_t>(Limits::max())) return static_cast<Integer>(value);
    } else if (json.is_number_integer() && Limits::is_signed) {
        int64_t value = json.get<int64_t>();
        if (value >= static_cast<int64_t>(Limits::min())) return static_cast<Integer>(value);
    }
    refuse(field, fmt::format("an integer from {} to {}", Limits::min(), Limits::max()));
}

void read_message(const Json& json, Message& message, int depth);

void read_value(const Json& json, Message& message, const FieldDescriptor& field, int depth) {
    const Reflection& put = *message.GetReflection();
    bool many = field.is_repeated();
    switch (field.cpp_type()) {
        case FieldDescriptor::CPPTYPE_INT32: {
            auto value = integer_of<int32_t>(json, field);
            return many ? put.AddInt32(&message, &field, value) : put.SetInt32(&message, &field, value);
        }
        case FieldDescriptor::CPPTYPE_INT64: {
            auto value = integer_of<int64_t>(json, field);
            return many ? put.AddInt64(&message, &field, value) : put.SetInt64(&message, &field, value);
        }
        case FieldDescriptor::CPPTYPE_UINT32: {
            auto value = integer_of<uint32_t>(json, field);
            return many ? put.AddUInt32(&message, &field, value) : put.SetUInt32(&message, &field, value);
        }
        case FieldDescriptor::CPPTYPE_UINT64: {
            auto value = integer_of<uint64_t>(json, field);
            return many ? put.AddUInt64(&message, &field, value) : put.SetUInt64(&message, &field, value);
        }
        case FieldDescriptor::CPPTYPE_BOOL: {
            if (!json.is_boolean()) refuse(field, "true or false");
            bool value = json.get<bool>();
            return many ? put.AddBool(&message, &field, value) : put.SetBool(&message, &field, value);
        }
        case FieldDescriptor::CPPTYPE_ENUM: {
            const auto* value = json.is_string()
                                    ? field.enum_type()->FindValueByName(json.get_ref<const std::string&>())
                                    : nullptr;
            if (value == nullptr) refuse(field, "a name of " + field.enum_type()->name());
            return many ? put.AddEnum(&message, &field, value) : put.SetEnum(&message, &field, value);
        }
        case FieldDescriptor::CPPTYPE_MESSAGE:
            return read_message(
                json, *(many ? put.AddMessage(&message, &field) : put.MutableMessage(&message, &field)),
                depth + 1);
        case FieldDescriptor::CPPTYPE_STRING: {
            std::string value;
            bool plain = field.type() == FieldDescriptor::TYPE_STRING;
            if (plain && json.is_object() && json.contains("base64")) {
                value = parse_base64(json["base64"]);
            } else if (!json.is_string()) {
                refuse(field, "text");
            } else if (plain) {
                value = json.get<std::string>();
            } else if (is_quoted_printable(field)) {
                value = parse_quoted_printable(json.get_ref<const std::string&>());
            } else {
                value = parse_base64(json);
            }
            return many ? put.AddString(&message, &field, value) : put.SetString(&message, &field, value);
        }
        case FieldDescriptor::CPPTYPE_DOUBLE:
        case FieldDescriptor::CPPTYPE_FLOAT:
            break;
    }
    base::check_failed("no image has floating point fields", __FILE__, __LINE__);
}

void read_message(const Json& json, Message& message, int depth) {
    const auto& type = *message.GetDescriptor();
    if (!json.is_object() || depth > k_depth_limit) {
        throw base::Error(base::ErrorKind::usage,
                          fmt::format("a {} should be an object, and not too deep", type.name()));
    }
    for (int i = 0; i < type.field_count(); ++i) {
        const FieldDescriptor& field = *type.field(i);
        auto found = json.find(field.name());
        if (found == json.end()) continue;
        if (!field.is_repeated()) {
            read_value(*found, message, field, depth);
            continue;
        }
        if (!found->is_array()) refuse(field, "a list");
        if (found->size() == 1 && found->front().is_string()) {
            if (auto words = parse_pretty_address(field, found->front().get_ref<const std::string&>())) {
                for (uint32_t word : *words) message.GetReflection()->AddUInt32(&message, &field, word);
                continue;
            }
        }
        for (const Json& item : *found) read_value(item, message, field, depth);
    }
}

}  // namespace

Json message_to_json(const Message& message) {
    Json json = Json::object();
    const Reflection& get = *message.GetReflection();
    std::vector<const FieldDescriptor*> fields;
    get.ListFields(message, &fields);
    for (const FieldDescriptor* field : fields) {
        // push_back on the object: operator[] of an ordered object looks through all keys first.
        if (!field->is_repeated()) {
            json.push_back({field->name(), value_to_json(message, *field, -1)});
            continue;
        }
        Json items = Json::array();
        int count = get.FieldSize(message, field);
        for (int i = 0; i < count; ++i) items.push_back(value_to_json(message, *field, i));
        json.push_back({field->name(), std::move(items)});
    }
    return json;
}

void json_to_message(const Json& json, Message& message) {
    message.Clear();
    read_message(json, message, 0);
}

std::string to_base64_lines(std::string_view bytes) {
    constexpr size_t k_line_bytes = 57;  // 76 characters
    std::string out;
    for (size_t i = 0; i < bytes.size(); i += k_line_bytes) {
        out += base::to_base64(bytes.substr(i, k_line_bytes));
        out += '\n';
    }
    return out;
}

std::string parse_base64(const Json& text) {
    auto refuse_text = [](std::string_view why) {
        throw base::Error(base::ErrorKind::usage, fmt::format("base64 {}", why));
    };
    if (!text.is_string()) refuse_text("should be text");
    std::string out;
    uint32_t bits = 0;
    int count = 0;
    bool ended = false;
    for (char digit : text.get_ref<const std::string&>()) {
        if (digit == '\n' || digit == '\r' || digit == ' ' || digit == '\t') continue;
        if (digit == '=') {
            ended = true;
            continue;
        }
        uint32_t value = 0;
        if (digit >= 'A' && digit <= 'Z')
            value = static_cast<uint32_t>(digit - 'A');
        else if (digit >= 'a' && digit <= 'z')
            value = static_cast<uint32_t>(digit - 'a' + 26);
        else if (digit >= '0' && digit <= '9')
            value = static_cast<uint32_t>(digit - '0' + 52);
        else if (digit == '+')
            value = 62;
        else if (digit == '/')
            value = 63;
        else
            refuse_text("has a character that is none of its digits");
        if (ended) refuse_text("goes on after its end");
        bits = bits << 6 | value;
        count += 6;
        if (count >= 8) {
            count -= 8;
            out += static_cast<char>(bits >> count & 0xff);
        }
    }
    return out;
}

}  // namespace cprewind::images

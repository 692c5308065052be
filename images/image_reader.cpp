#include "images/image_reader.h"

#include <fmt/format.h>
#include <google/protobuf/message.h>
#include <google/protobuf/unknown_field_set.h>

#include <algorithm>

#include "base/bytes.h"
#include "images/lost_file.h"

namespace cprewind::images {

namespace {

// Stored snapshots are decompressed in blocks of this size, so smaller reads cost as much.
constexpr uint64_t k_window_bytes = 256u << 10;
// The largest honest entries are mm (some 60 bytes a mapping, 65530 mappings unless the limit was raised) and
// ghost files' heads; an entry is never larger than the file anyway.
constexpr uint64_t k_entry_limit = 64u << 20;
// Of one image. Beyond it the image is garbage, and one more line does not help.
constexpr size_t k_findings_limit = 16;

// Names of unknown fields as "7" or "tc.23", the first few.
void collect_unknown(const google::protobuf::Message& message, const std::string& prefix,
                     std::vector<std::string>& names) {
    const auto* reflection = message.GetReflection();
    const auto& unknown = reflection->GetUnknownFields(message);
    for (int i = 0; i < unknown.field_count() && names.size() < 4; ++i) {
        std::string name = prefix + std::to_string(unknown.field(i).number());
        if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(std::move(name));
    }
    std::vector<const google::protobuf::FieldDescriptor*> fields;
    reflection->ListFields(message, &fields);
    for (const auto* field : fields) {
        if (field->cpp_type() != google::protobuf::FieldDescriptor::CPPTYPE_MESSAGE) continue;
        std::string inner = prefix + field->name() + ".";
        int count = field->is_repeated() ? reflection->FieldSize(message, field) : 1;
        for (int i = 0; i < count && names.size() < 4; ++i) {
            collect_unknown(field->is_repeated() ? reflection->GetRepeatedMessage(message, field, i)
                                                 : reflection->GetMessage(message, field),
                            inner, names);
        }
    }
}

std::string join_names(const std::vector<std::string>& names) {
    return fmt::format("{}", fmt::join(names, ", "));
}

}  // namespace

std::vector<std::string> unknown_fields(const google::protobuf::Message& message) {
    std::vector<std::string> names;
    collect_unknown(message, {}, names);
    return names;
}

ImageReader::ImageReader(std::unique_ptr<ImageFile> file, std::string_view name, Findings& findings)
    : file_(std::move(file)),
      name_(name),
      findings_(&findings),
      findings_left_(k_findings_limit),
      size_(file_->size()) {}

std::optional<ImageReader> ImageReader::open(const ImageSource& source, std::string_view name,
                                             const ImageKind& kind, Findings& findings) {
    auto file = source.open(name);
    if (!file) {
        add_finding(findings, {FindingKind::absent, std::string(name), {}, "this image is not there"});
        return std::nullopt;
    }
    ImageReader reader(std::move(file), name, findings);
    if (reader.size_ == 0) {
        reader.report(FindingKind::empty, "the file has no bytes, not even a head");
        return std::nullopt;
    }
    auto first = reader.take_number();
    uint32_t expected_head = kind.head == ImageHead::service ? k_service_magic : k_common_magic;
    if (first && is_swapped_head(*first)) {
        reader.big_endian_ = true;
        first = base::swap_bytes(*first);
    }
    bool has_head = kind.head != ImageHead::bare && first == expected_head;
    auto magic = has_head ? reader.take_number() : first;
    if (!magic) {
        reader.report(FindingKind::truncated,
                      fmt::format("the file ends in its head, after {} bytes", reader.size_));
        return std::nullopt;
    }
    if (*magic != kind.magic) {
        std::string found = "no known image";
        for (const ImageKind& other : all_image_kinds()) {
            if (other.magic != 0 && other.magic == *magic) {
                found = fmt::format("that of {}", other.name);
                break;
            }
        }
        reader.entry_offset_ = has_head ? 4 : 0;
        reader.report(FindingKind::damaged, fmt::format("magic {:#010x} ({}), expected {:#010x} ({})", *magic,
                                                        found, kind.magic, kind.name));
        return std::nullopt;
    }
    reader.entry_offset_ = reader.offset_;
    return reader;
}

void ImageReader::report(FindingKind kind, std::string message) {
    if (findings_left_ == 0) return;
    --findings_left_;
    if (findings_left_ == 0) message += "; more of this image is not listed";
    add_finding(*findings_, {kind, name_, entry_offset_, std::move(message)});
}

std::optional<std::span<const std::byte>> ImageReader::take(uint64_t size) {
    if (size > size_ - offset_) return std::nullopt;
    uint64_t window_end = window_offset_ + window_.size();
    if (offset_ < window_offset_ || offset_ + size > window_end) {
        window_offset_ = offset_;
        window_.resize(static_cast<size_t>(std::min(size_ - offset_, std::max(size, k_window_bytes))));
        window_.resize(read_window());
        if (window_.size() < size) return std::nullopt;  // the file shrank
    }
    auto part = std::span<const std::byte>(window_).subspan(static_cast<size_t>(offset_ - window_offset_),
                                                            static_cast<size_t>(size));
    offset_ += size;
    return part;
}

// Nothing, with a finding, where the medium, the archive or the repository does not give the bytes: that is the loss of
// one image, and the others tell their part. It is all there is to say of this one.
size_t ImageReader::read_window() {
    try {
        return file_->read_at(window_offset_, window_);
    } catch (const base::Error& error) {
        if (!is_loss(error)) throw;
        report(FindingKind::damaged, error.message());
        findings_left_ = 0;
        return 0;
    }
}

std::optional<uint32_t> ImageReader::take_number() {
    auto raw = take(sizeof(uint32_t));
    if (!raw) return std::nullopt;
    uint32_t number = *base::Cursor(*raw).integer<uint32_t>();
    return big_endian_ ? base::swap_bytes(number) : number;
}

bool ImageReader::next(google::protobuf::Message& message) {
    while (offset_ < size_) {
        entry_offset_ = offset_;
        auto head = take_number();
        if (!head) {
            report(FindingKind::truncated,
                   fmt::format("{} stray bytes at the end, not even an entry's size", size_ - offset_));
            offset_ = size_;
            return false;
        }
        uint32_t size = *head;
        if (size > size_ - offset_) {
            report(FindingKind::truncated,
                   fmt::format("an entry of {} bytes, but only {} are left", size, size_ - offset_));
            offset_ = size_;
            return false;
        }
        auto payload = size > k_entry_limit ? std::nullopt : take(size);
        if (!payload) {
            report(FindingKind::damaged, fmt::format("an entry of {} bytes, more than any image has", size));
            offset_ = size_;
            return false;
        }
        message.Clear();
        bool parsed = message.ParsePartialFromArray(payload->data(), static_cast<int>(payload->size()));
        if (!parsed) {
            report(FindingKind::damaged, fmt::format("an entry of {} bytes that is not a {}", size,
                                                     message.GetDescriptor()->name()));
            continue;
        }
        if (!message.IsInitialized()) {
            std::vector<std::string> missing;
            message.FindInitializationErrors(&missing);
            if (missing.size() > 4) missing.resize(4);
            report(FindingKind::damaged,
                   fmt::format("{} lacks {}", message.GetDescriptor()->name(), join_names(missing)));
        }
        if (!reports_unknown_) return true;
        std::vector<std::string> unknown = unknown_fields(message);
        if (!unknown.empty()) {
            report(FindingKind::unknown,
                   fmt::format("{} has fields or values that this version does not know: {}",
                               message.GetDescriptor()->name(), join_names(unknown)));
        }
        return true;
    }
    return false;
}

std::optional<std::span<const std::byte>> ImageReader::extra(uint64_t size) {
    auto bytes = take(size);
    if (!bytes) {
        report(FindingKind::truncated,
               fmt::format("{} bytes of data should follow, but only {} are left", size, size_ - offset_));
        offset_ = size_;
    }
    return bytes;
}

std::optional<uint32_t> ImageReader::extra_number() {
    auto bytes = extra(sizeof(uint32_t));
    if (!bytes) return std::nullopt;
    uint32_t number = *base::Cursor(*bytes).integer<uint32_t>();
    return big_endian_ ? base::swap_bytes(number) : number;
}

bool ImageReader::skip(uint64_t size) {
    if (size <= size_ - offset_) {
        offset_ += size;
        return true;
    }
    report(FindingKind::truncated,
           fmt::format("{} bytes of data should follow, but only {} are left", size, size_ - offset_));
    offset_ = size_;
    return false;
}

bool read_single(const ImageSource& source, std::string_view name, const ImageKind& kind,
                 google::protobuf::Message& message, Findings& findings) {
    auto reader = ImageReader::open(source, name, kind, findings);
    if (!reader) return false;
    if (!reader->next(message)) {
        reader->report(FindingKind::truncated,
                       fmt::format("there is no whole {} in it", message.GetDescriptor()->name()));
        return false;
    }
    std::unique_ptr<google::protobuf::Message> second(message.New());
    if (reader->next(*second)) {
        reader->report(FindingKind::damaged, "a second entry, where there is only one");
    }
    return true;
}

void check_head(const ImageSource& source, std::string_view name, const ImageKind& kind, Findings& findings) {
    if (kind.head == ImageHead::raw) return;
    ImageReader::open(source, name, kind, findings);
}

}  // namespace cprewind::images

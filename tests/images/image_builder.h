// Checkpoints made by hand, for what no real program would leave behind: an ImageSource in memory and helpers
// that write CRIU's framing.
#pragma once

#include <google/protobuf/message_lite.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "images/image_kinds.h"
#include "images/image_source.h"

namespace cprewind::images::test {

class MemoryFile : public ImageFile {
 public:
    explicit MemoryFile(std::string content) : content_(std::move(content)) {}
    uint64_t size() const override { return content_.size(); }
    size_t read_at(uint64_t offset, std::span<std::byte> out) const override {
        if (offset >= content_.size()) return 0;
        size_t size = std::min<size_t>(out.size(), content_.size() - static_cast<size_t>(offset));
        std::memcpy(out.data(), content_.data() + offset, size);
        return size;
    }

 private:
    std::string content_;
};

// A checkpoint as a map from name to content; change it as you like.
class MemorySource : public ImageSource {
 public:
    std::map<std::string, std::string> files;

    std::vector<std::string> list() const override {
        std::vector<std::string> names;
        for (const auto& [name, content] : files) {
            if (!name.starts_with("parent/")) names.push_back(name);
        }
        return names;
    }
    std::unique_ptr<ImageFile> open(std::string_view name) const override {
        auto found = files.find(std::string(name));
        if (found == files.end()) return nullptr;
        return std::make_unique<MemoryFile>(found->second);
    }
    std::string describe() const override { return "a checkpoint made by hand"; }
};

// All files of another source, to be damaged.
inline MemorySource copy_of(const ImageSource& source) {
    MemorySource copy;
    for (const std::string& name : source.list()) copy.files[name] = *read_whole(source, name);
    return copy;
}

inline std::string make_head(const ImageKind& kind) {
    std::string out;
    if (kind.head == ImageHead::common) base::append_integer(out, k_common_magic);
    if (kind.head == ImageHead::service) base::append_integer(out, k_service_magic);
    base::append_integer(out, kind.magic);
    return out;
}

inline void append_entry(std::string& out, const google::protobuf::MessageLite& message) {
    base::append_text(out, message.SerializePartialAsString());
}

template <typename... Messages>
std::string make_image(std::string_view kind, const Messages&... messages) {
    std::string out = make_head(image_kind(kind));
    (append_entry(out, messages), ...);
    return out;
}

}  // namespace cprewind::images::test

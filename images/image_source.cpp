#include "images/image_source.h"

#include <fmt/format.h>

#include "base/error.h"

namespace cprewind::images {

std::unique_ptr<std::string> read_whole(const ImageSource& source, std::string_view name, uint64_t limit) {
    auto file = source.open(name);
    if (!file) return nullptr;
    uint64_t size = file->size();
    if (size > limit) {
        throw base::Error(base::ErrorKind::unsupported,
                          fmt::format("{} in {} has {} bytes, more than the {} that are read at once", name,
                                      source.describe(), size, limit));
    }
    auto content = std::make_unique<std::string>(static_cast<size_t>(size), '\0');
    size_t got = file->read_at(0, std::as_writable_bytes(std::span(content->data(), content->size())));
    content->resize(got);
    return content;
}

}  // namespace cprewind::images

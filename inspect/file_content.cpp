#include "inspect/file_content.h"

#include <algorithm>
#include <span>

#include "base/error.h"

namespace cprewind::inspect {

std::string read_content(const images::LayerEntry& entry, const images::ImageFile* data, uint64_t offset,
                         uint64_t size) {
    uint64_t end = std::min(entry.size, offset + std::min(size, UINT64_MAX - offset));
    if (offset >= end) return {};
    std::string out(static_cast<size_t>(end - offset), '\0');
    for (const images::LayerExtent& extent : entry.extents) {
        uint64_t begin = std::max(extent.file_offset, offset);
        uint64_t stop = std::min(extent.file_offset + extent.length, end);
        if (begin >= stop) continue;
        auto part = std::as_writable_bytes(std::span(out)).subspan(begin - offset, stop - begin);
        size_t got = data ? data->read_at(extent.data_offset + (begin - extent.file_offset), part) : 0;
        if (got != part.size()) {
            throw base::Error(base::ErrorKind::damaged, "the data of /" + entry.path + " end too early");
        }
    }
    return out;
}

}  // namespace cprewind::inspect

// The data of a captured layer: one file to which the contents of the layer's files are appended, holes left
// out, and from which their digests are made.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/digest.h"
#include "images/layer.h"

namespace cprewind::engine {

// Extents begin on pages, so that a store of pages finds again what a file holds, whatever became of those before it.
inline uint64_t page_end(uint64_t size) {
    constexpr uint64_t k_page = 4096;
    return (size + k_page - 1) / k_page * k_page;
}

class LayerDataWriter {
 public:
    // `end` is where the data file ends; it is moved on. Both must outlive the writer.
    LayerDataWriter(int out, uint64_t& end) : out_(out), end_(end) {}

    // Appends the data of `in` below `size`; what a shrinking file has lost meanwhile is left out. `name` is
    // for messages.
    std::vector<images::LayerExtent> append(int in, uint64_t size, const std::string& name);

    // Appends a range, holes as zeros; returns the bytes that there were.
    uint64_t append_range(int in, uint64_t offset, uint64_t length, const std::string& name);

    uint64_t copied() const { return copied_; }  // bytes, without those between extents

 private:
    size_t append_some(int in, uint64_t offset, uint64_t length, const std::string& name);

    int out_;
    uint64_t& end_;
    uint64_t copied_ = 0;
    bool in_kernel_ = true;  // copy_file_range works between these file systems, so far
    std::vector<std::byte> buffer_;
};

// Digest of the whole content of a regular file whose extents lie in `data`; nothing when it is hole beyond
// reason.
std::optional<base::Digest> digest_of_entry(const images::LayerEntry& entry, int data);

}  // namespace cprewind::engine

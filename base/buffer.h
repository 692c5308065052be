// Memory for many bytes on their way. The first touch of each page is a fault, 15 to 35 µs in a virtual machine, and a page
// that is asked for together with others costs one (docs/decisions/0050-start-of-a-command.md).
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

namespace cprewind::base {

// Asks the kernel for the pages in which `bytes` of heap lie, at once; what they hold stays. Where it cannot (before
// Linux 5.14), nothing is lost.
void populate(std::span<std::byte> bytes);

// A vector of `count` values T{}, populated.
template <typename T>
std::vector<T> populated_vector(size_t count) {
    std::vector<T> values;
    values.reserve(count);
    populate(std::as_writable_bytes(std::span(values.data(), count)));
    values.resize(count);
    return values;
}

// Populated, not zeroed.
class Buffer {
 public:
    Buffer() = default;
    // Throws std::bad_alloc.
    explicit Buffer(size_t size);

    size_t size() const { return size_; }
    std::byte* data() { return data_.get(); }
    std::span<std::byte> bytes() { return {data_.get(), size_}; }

 private:
    std::unique_ptr<std::byte[]> data_;
    size_t size_ = 0;
};

}  // namespace cprewind::base

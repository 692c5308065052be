#include "base/buffer.h"

#include <sys/mman.h>

#include <cstdint>

namespace cprewind::base {

void populate(std::span<std::byte> bytes) {
    constexpr uintptr_t k_page = 4096;
    if (bytes.empty()) return;
    uintptr_t first = reinterpret_cast<uintptr_t>(bytes.data()) & ~(k_page - 1);
    uintptr_t last = reinterpret_cast<uintptr_t>(bytes.data() + bytes.size() + k_page - 1) & ~(k_page - 1);
    ::madvise(reinterpret_cast<void*>(first), last - first, MADV_POPULATE_WRITE);
}

Buffer::Buffer(size_t size) : data_(std::make_unique_for_overwrite<std::byte[]>(size)), size_(size) {
    populate(bytes());
}

}  // namespace cprewind::base

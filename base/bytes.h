// Reading and making little-endian records. Every parser of bytes that we did not write goes through Cursor,
// so that bounds are checked in one place: a read past the end yields nothing and moves nothing.
#pragma once

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace cprewind::base {

static_assert(std::endian::native == std::endian::little, "stored integers are little-endian");

class Cursor {
 public:
    explicit Cursor(std::span<const std::byte> data) : data_(data) {}

    size_t offset() const { return offset_; }
    size_t left() const { return data_.size() - offset_; }
    bool at_end() const { return left() == 0; }

    template <std::unsigned_integral T>
    std::optional<T> integer() {
        if (left() < sizeof(T)) return std::nullopt;
        T value;
        std::memcpy(&value, data_.data() + offset_, sizeof(T));
        offset_ += sizeof(T);
        return value;
    }

    // `size` may be any number a file claims: it is compared with what is left before anything else.
    std::optional<std::span<const std::byte>> bytes(uint64_t size) {
        if (size > left()) return std::nullopt;
        auto part = data_.subspan(offset_, static_cast<size_t>(size));
        offset_ += static_cast<size_t>(size);
        return part;
    }

    // A string behind its u32 length.
    std::optional<std::string> text() {
        size_t before = offset_;
        auto size = integer<uint32_t>();
        auto raw = size ? bytes(*size) : std::nullopt;
        if (!raw) {
            offset_ = before;
            return std::nullopt;
        }
        return std::string(reinterpret_cast<const char*>(raw->data()), raw->size());
    }

 private:
    std::span<const std::byte> data_;
    size_t offset_ = 0;
};

// The same bytes in the other order.
template <std::unsigned_integral T>
constexpr T swap_bytes(T value) {
    T out = 0;
    for (size_t i = 0; i < sizeof(T); ++i)
        out = static_cast<T>(out | ((value >> 8 * i & 0xff) << 8 * (sizeof(T) - 1 - i)));
    return out;
}

template <std::unsigned_integral T>
void append_integer(std::string& out, T value) {
    char raw[sizeof(T)];
    std::memcpy(raw, &value, sizeof(T));
    out.append(raw, sizeof(T));
}

inline void append_text(std::string& out, std::string_view text) {
    append_integer(out, static_cast<uint32_t>(text.size()));
    out.append(text);
}

}  // namespace cprewind::base

#include "base/digest.h"

#include <algorithm>
#include <cstdint>

#include "base/text.h"

namespace cprewind::base {

std::string Digest::hex() const {
    return to_hex(bytes);
}

std::optional<Digest> Digest::from_hex(std::string_view text) {
    auto raw = parse_hex(text);
    if (!raw || raw->size() != 32) return std::nullopt;
    Digest digest;
    std::copy(raw->begin(), raw->end(), digest.bytes.begin());
    return digest;
}

Hasher::Hasher() {
    sha256_init(&context_);
}

void Hasher::update(std::span<const std::byte> data) {
    sha256_update(&context_, data.size(), reinterpret_cast<const uint8_t*>(data.data()));
}

Digest Hasher::finish() {
    Digest digest;
    sha256_digest(&context_, digest.bytes.size(), reinterpret_cast<uint8_t*>(digest.bytes.data()));
    return digest;
}

Digest digest_of(std::span<const std::byte> data) {
    Hasher hasher;
    hasher.update(data);
    return hasher.finish();
}

}  // namespace cprewind::base

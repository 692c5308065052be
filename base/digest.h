// SHA-256, the one hash that decides anything here: block identity, file identity, snapshot ids.
// A container chooses its own memory, so nothing weaker may (docs/decisions/0002-digests.md).
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include <nettle/sha2.h>

namespace cprewind::base {

struct Digest {
    std::array<std::byte, 32> bytes{};

    auto operator<=>(const Digest&) const = default;
    std::string hex() const;
    static std::optional<Digest> from_hex(std::string_view text);
};

// Digest of a stream; reusable after finish().
class Hasher {
 public:
    Hasher();

    void update(std::span<const std::byte> data);
    Digest finish();

 private:
    sha256_ctx context_;
};

// Speed: 1.4 GB/s a core where the processor has SHA instructions.
Digest digest_of(std::span<const std::byte> data);

}  // namespace cprewind::base

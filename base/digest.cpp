#include "base/digest.h"

#include <algorithm>

#include <openssl/evp.h>

#include "base/error.h"
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

Hasher::Hasher() : context_(EVP_MD_CTX_new()) {
    CPREWIND_CHECK(context_ != nullptr);
    CPREWIND_CHECK(EVP_DigestInit_ex(context_, EVP_sha256(), nullptr) == 1);
}

Hasher::~Hasher() {
    EVP_MD_CTX_free(context_);
}

void Hasher::update(std::span<const std::byte> data) {
    CPREWIND_CHECK(EVP_DigestUpdate(context_, data.data(), data.size()) == 1);
}

Digest Hasher::finish() {
    Digest digest;
    CPREWIND_CHECK(
        EVP_DigestFinal_ex(context_, reinterpret_cast<unsigned char*>(digest.bytes.data()), nullptr) == 1);
    CPREWIND_CHECK(EVP_DigestInit_ex(context_, EVP_sha256(), nullptr) == 1);
    return digest;
}

Digest digest_of(std::span<const std::byte> data) {
    Digest digest;
    CPREWIND_CHECK(EVP_Digest(data.data(), data.size(), reinterpret_cast<unsigned char*>(digest.bytes.data()),
                              nullptr, EVP_sha256(), nullptr) == 1);
    return digest;
}

}  // namespace cprewind::base

// What the fuzz targets share. A target is one function over bytes that anybody may have made; it returns, whatever
// the bytes: what is wrong with them is a Finding or a base::Error. Built by clang with libFuzzer (`make fuzz`), and by
// the ordinary build with replay.cpp, which runs it over the corpus and the fixtures.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/error.h"
#include "base/fd.h"
#include "images/decoded_file.h"
#include "tests/images/image_builder.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace cprewind::fuzz {

inline std::string_view text_of(const uint8_t* data, size_t size) {
    return {reinterpret_cast<const char*>(data), size};
}

// A promise that must hold for any input; kept in release builds, too.
inline void must(bool promise, const char* what) {
    if (promise) return;
    std::fprintf(stderr, "broken promise: %s\n", what);
    std::abort();
}

// Runs `work`; an Error is an honest answer to nonsense.
template <typename Work>
void allow_refusal(Work&& work) {
    try {
        work();
    } catch (const base::Error&) {
    }
}

// A checkpoint out of bytes: ( u8 length, name, u32 size, content )*; the last content may be shorter.
inline images::test::MemorySource files_of(std::string_view bytes) {
    images::test::MemorySource source;
    base::Cursor cursor(base::as_bytes(bytes));
    while (auto length = cursor.integer<uint8_t>()) {
        auto name = cursor.bytes(*length);
        auto size = name ? cursor.integer<uint32_t>() : std::nullopt;
        if (!size) break;
        auto content = cursor.bytes(std::min<size_t>(*size, cursor.left()));
        source.files[std::string(base::as_text(*name))] = base::as_text(*content);
    }
    return source;
}

}  // namespace cprewind::fuzz

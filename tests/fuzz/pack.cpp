// Trailer, index and info of a pack, in the order in which they are read: the trailer first, which is last.
#include "store/info_json.h"
#include "store/pack_format.h"
#include "tests/fuzz/fuzz.h"

using namespace cprewind;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    auto bytes = base::as_bytes(fuzz::text_of(data, size));
    fuzz::allow_refusal([&] { store::check_header(bytes, "pack"); });
    fuzz::allow_refusal([&] { store::parse_info_json(fuzz::text_of(data, size), "pack"); });
    // The digest of the trailer cannot be guessed, so the index is tried on its own: the first eight bytes say how
    // long its two parts are.
    fuzz::allow_refusal([&] { store::parse_trailer(bytes, bytes.size(), "pack"); });
    base::Cursor cursor(bytes);
    auto index_size = cursor.integer<uint32_t>();
    auto info_size = cursor.integer<uint32_t>();
    if (!info_size) return 0;
    store::Trailer trailer;
    trailer.index_size = *index_size % (cursor.left() + 1);
    trailer.info_size = cursor.left() - trailer.index_size;
    trailer.index_offset = *info_size;
    fuzz::allow_refusal([&] { store::parse_tail(bytes.subspan(8), trailer, "pack"); });
    return 0;
}

// Rows of the catalog as a pack carries them.
#include "store/rows_codec.h"

#include "tests/fuzz/fuzz.h"

using namespace cprewind;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    std::string_view bytes = fuzz::text_of(data, size);
    fuzz::allow_refusal([&] { store::make_rows(store::parse_rows(base::as_bytes(bytes), "rows")); });
    return 0;
}

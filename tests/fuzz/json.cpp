// JSON that claims to be an image: refused, or made into an image that decodes.
#include "images/image_json.h"
#include "tests/fuzz/fuzz.h"

using namespace cprewind;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    auto json = images::Json::parse(fuzz::text_of(data, size), nullptr, false);
    if (json.is_discarded()) return 0;
    fuzz::allow_refusal([&] {
        std::string bytes = images::encode_image(json);
        images::Findings findings;
        images::decode_image(images::test::MemoryFile(bytes), "image", findings);
    });
    return 0;
}

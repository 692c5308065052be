// Framing, schema and JSON of one image: any bytes whatever come back as they were from decode and encode.
#include "images/image_json.h"
#include "tests/fuzz/fuzz.h"

using namespace cprewind;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    std::string bytes(fuzz::text_of(data, size));
    images::test::MemoryFile file(bytes);
    fuzz::allow_refusal([&] {
        images::Findings findings;
        images::Json json = images::decode_image(file, "image", findings);
        // As text, because that is how it gets from one command to the other.
        std::string text = json.dump();
        std::string again = images::encode_image(images::Json::parse(text));
        fuzz::must(again == bytes, "encode undoes decode");
    });
    return 0;
}

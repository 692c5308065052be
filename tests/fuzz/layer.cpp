// The tree of a writable layer: what parses is sound, and is the same after another trip.
#include "images/layer.h"

#include "tests/fuzz/fuzz.h"

using namespace cprewind;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    constexpr uint64_t k_data_bytes = 1u << 20;
    images::Findings findings;
    images::LayerTree tree = images::parse_layer(fuzz::text_of(data, size), k_data_bytes, findings);
    for (const auto& entry : tree.entries) {
        for (const auto& extent : entry.extents) {
            fuzz::must(
                extent.data_offset <= k_data_bytes && extent.length <= k_data_bytes - extent.data_offset,
                "extents lie in the data");
        }
    }
    std::string once = images::encode_layer(tree);
    images::Findings again;
    // Of nothing at all it is said each time that the root is missing.
    fuzz::must(images::encode_layer(images::parse_layer(once, k_data_bytes, again)) == once &&
                   (again.empty() || tree.entries.empty()),
               "what was accepted once is accepted again");
    return 0;
}

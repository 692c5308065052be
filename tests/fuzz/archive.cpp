// Archives: plain, gzip and zstd tar, read in place, and the checkpoint in them found.
#include "images/archive_source.h"

#include <algorithm>
#include "images/open_source.h"
#include "tests/fuzz/fuzz.h"

using namespace cprewind;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    auto content = std::make_shared<const std::string>(fuzz::text_of(data, size));
    fuzz::allow_refusal([&] {
        images::ArchiveSource source(std::make_shared<images::BytesFile>(content), "", "archive");
        images::find_checkpoint(source);
        uint64_t left = 16u << 20;
        for (const std::string& name : source.list()) {
            fuzz::must(!name.starts_with("/") && !name.starts_with("../"), "names stay inside");
            auto file = source.open(name);
            fuzz::must(file != nullptr, "what is listed can be opened");
            std::string buffer(static_cast<size_t>(std::min(file->size(), left)), '\0');
            left -= file->read_at(0, std::as_writable_bytes(std::span(buffer)));
        }
    });
    return 0;
}

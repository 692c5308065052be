// docs/images.md lists the kinds of image; it is made from the table, so that the two cannot disagree.
#include <fmt/format.h>
#include <google/protobuf/message.h>

#include <catch2/catch_test_macros.hpp>
#include <cstdlib>

#include "base/fd.h"
#include "images/image_kinds.h"

using namespace cprewind::images;
namespace base = cprewind::base;

namespace {

const char* describe(Payload payload) {
    switch (payload) {
        case Payload::none:
            return "";
        case Payload::pagemap:
            return "the first entry is a `pagemap_head`";
        case Payload::pipe:
            return "`bytes` bytes";
        case Payload::packet:
            return "`length` bytes";
        case Payload::tcp:
            return "`inq_len`, then `outq_len` bytes";
        case Payload::bpf_map:
            return "`keys_bytes`, then `values_bytes` bytes";
        case Payload::semaphores:
            return "`nsems` u16, padded to 8 bytes";
        case Payload::messages:
            return "`qnum` × (u32 size, `ipc_msg`, `msize` bytes padded to 8)";
        case Payload::shared_memory:
            return "none if `in_pagemaps`, else `size` bytes padded to 4";
        case Payload::ghost:
            return "the rest of the file; if `chunks`: (u32 size, `ghost_chunk_entry`, `len` bytes) …";
    }
    return "";
}

std::string table() {
    std::string out =
        "| file | name | magic | entry | behind each entry | written by CRIU |\n|---|---|---|---|---|---|\n";
    for (const ImageKind& kind : all_image_kinds()) {
        bool raw = kind.head == ImageHead::raw;
        out += fmt::format("| `{}` | {} | {} | {} | {} | {} |\n", kind.pattern, kind.name,
                           raw ? "raw" : fmt::format("{:#010x}", kind.magic),
                           raw ? "" : fmt::format("`{}`", kind.message().GetDescriptor()->name()),
                           describe(kind.payload), *kind.writers ? kind.writers : "all");
    }
    return out;
}

}  // namespace

// `CPREWIND_ACCEPT=1 ctest -R images` writes the table anew.
TEST_CASE("docs/images.md shows the table of kinds as it is") {
    const std::string path = CPREWIND_DOCS "/images.md", start = "<!-- table -->\n", end = "<!-- end -->\n";
    std::string text = base::read_file(path);
    size_t from = text.find(start), to = text.find(end);
    REQUIRE(from != std::string::npos);
    REQUIRE(to != std::string::npos);
    from += start.size();
    if (std::getenv("CPREWIND_ACCEPT") != nullptr) {
        base::replace_file(path, text.replace(from, to - from, table()), 0644);
    } else {
        CHECK(text.substr(from, to - from) == table());
    }
}

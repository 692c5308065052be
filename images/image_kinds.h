// The one table of all images that CRIU writes: name, magic, file name. Whatever must know an image by its
// file or a file by its image asks here.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace google::protobuf {
class Message;
}

namespace cprewind::images {

enum class ImageHead {
    common,   // IMG_COMMON, then the image's magic (before 1.1: the magic alone)
    service,  // IMG_SERVICE, then the magic
    bare,     // the magic alone, in all versions: inventory.img
    raw,      // no head of any kind
};

// IMG_COMMON_MAGIC and IMG_SERVICE_MAGIC of CRIU.
inline constexpr uint32_t k_common_magic = 0x54564319;
inline constexpr uint32_t k_service_magic = 0x55105940;

// Bytes behind each entry that are no message. Sizes are fields of the entry (images/proto says which);
// padded means: with bytes of no meaning, which old writers do not even clear.
enum class Payload {
    none,
    pagemap,        // none; but the first entry is a pagemap_head
    pipe,           // `bytes` bytes
    packet,         // `length` bytes
    tcp,            // `inq_len` bytes, then `outq_len` bytes
    bpf_map,        // `keys_bytes` bytes, then `values_bytes` bytes
    semaphores,     // `nsems` u16, padded to a multiple of 8 bytes
    messages,       // `qnum` times: u32 size, an ipc_msg of that size, its `msize` bytes padded to 8
    shared_memory,  // none when `in_pagemaps` (since 3.0), else `size` bytes padded to 4
    ghost,  // all the rest of the file; when `chunks`: u32 size, ghost_chunk_entry, its `len` bytes, …
};

struct ImageKind {
    const char* name;     // as crit calls it: "CORE"
    uint32_t magic;       // 0 when raw
    const char* pattern;  // of the file name: "core-%u.img"; %u decimal, %x hexadecimal digits
    ImageHead head;
    const google::protobuf::Message& (*message)();  // what an entry is; null when raw
    Payload payload;
    const char* writers;  // "3.4 and later"; "" when all CRIU since 3.0
};

// The kind that crit names so in "magic", and the one to be taken for a magic when no file name tells.
const ImageKind* find_image_kind_by_magic(uint32_t magic);
const ImageKind* find_image_kind_by_name(std::string_view name);

// The first word of an image, read as little-endian, is one that a big-endian machine wrote.
bool is_swapped_head(uint32_t word);

std::span<const ImageKind> all_image_kinds();

// By name, which must exist: a wrong one is our own mistake.
const ImageKind& image_kind(std::string_view name);

// What a file of this name holds, and the first number in its name (0 when it has none).
struct NamedKind {
    const ImageKind* kind = nullptr;
    uint64_t number = 0;
};
std::optional<NamedKind> find_image_kind(std::string_view file_name);

// Name of the image of `kind` with that number.
std::string image_file_name(const ImageKind& kind, uint64_t number = 0);

}  // namespace cprewind::images

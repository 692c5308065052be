// The one table of all images that CRIU writes: name, magic, file name. Whatever must know an image by its
// file or a file by its image asks here.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

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

struct ImageKind {
    const char* name;     // as crit calls it: "CORE"
    uint32_t magic;       // 0 when raw
    const char* pattern;  // of the file name: "core-%u.img"; %u decimal, %x hexadecimal digits
    ImageHead head;
};

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

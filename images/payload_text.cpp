#include "images/payload_text.h"

#include <fmt/format.h>

#include <cmath>

namespace cprewind::images {

namespace {

// Of the bytes that base64 stands for, in lines.
uint64_t decoded_size(const std::string& base64) {
    uint64_t digits = 0;
    for (char c : base64) digits += c != '\n' && c != '=' ? 1 : 0;
    return digits * 3 / 4;
}

// Of semaphores a list of numbers, of messages a list of heads and texts in turn, of TCP an object of two.
uint64_t size_of(const Json& extra) {
    if (extra.is_string()) return decoded_size(extra.get_ref<const std::string&>());
    if (extra.is_number()) return sizeof(uint16_t);
    uint64_t size = 0;
    bool of_values = extra.is_array() || (extra.is_object() && extra.contains("inq"));
    if (of_values) {
        for (const Json& part : extra) size += size_of(part);
    }
    return size;
}

// As crit writes it: "16B", "1.5KB".
std::string size_text(uint64_t size) {
    constexpr const char* k_units[] = {"", "K", "M", "G"};
    auto value = static_cast<double>(size);
    size_t unit = 0;
    while (value >= 1024 && unit + 1 < std::size(k_units)) {
        value /= 1024;
        ++unit;
    }
    return value == std::floor(value) ? fmt::format("{:.0f}{}B", value, k_units[unit])
                                      : fmt::format("{:.1f}{}B", value, k_units[unit]);
}

}  // namespace

void shorten_payloads(Json& image) {
    bool ghost = image["magic"] == "GHOST_FILE";
    for (Json& entry : image["entries"]) {
        auto extra = entry.find("extra");
        if (extra == entry.end()) continue;
        if (ghost) {
            entry.erase(extra);
        } else {
            *extra = fmt::format("... <{}>", size_text(size_of(*extra)));
        }
    }
}

}  // namespace cprewind::images

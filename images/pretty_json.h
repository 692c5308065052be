// What `crit decode --pretty` makes of numbers: addresses and masks in hexadecimal, flags and states by name,
// devices as "major:minor", IP addresses as such. Which field is shown how is in one table here; everything else
// stays the number that message_json makes of it.
//
// Other than crit we know which state is which: 3 is "Stopped", 6 is "Zombie" (crit up to 4.2.1 has them the
// wrong way round, and none of them for 2, "Dead").
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "images/message_json.h"

namespace google::protobuf {
class FieldDescriptor;
}

namespace cprewind::images {

// Changes what decode_image has made.
void make_pretty(Json& image);

// The way back, for `encode`: the number that `text` shows in `field`; nothing when it shows none.
std::optional<uint64_t> parse_pretty(const google::protobuf::FieldDescriptor& field, std::string_view text);

// Likewise the words of an IP address; nothing when `field` holds none or `text` is none.
std::optional<std::vector<uint32_t>> parse_pretty_address(const google::protobuf::FieldDescriptor& field,
                                                          std::string_view text);

}  // namespace cprewind::images

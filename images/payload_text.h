// What `crit show --nopl` makes of the bytes behind entries: how many there are, instead of the bytes.
#pragma once

#include "images/message_json.h"

namespace cprewind::images {

// Changes what decode_image has made: "extra" becomes "... <16B>"; of a ghost file it goes, as with crit. `encode` refuses
// the result.
void shorten_payloads(Json& image);

}  // namespace cprewind::images

// A whole image as JSON, and back: `cprewind decode` and `encode`. The value is that of `crit decode`:
//
//   {"magic": "PIPES_DATA", "entries": [{"pipe_id": 9, "bytes": 3, "extra": "YWJj\n"}]}
//
// "extra" is the payload (image_kinds.h): text in base64, for TCP an object of "inq" and "outq", for
// semaphores a list of numbers, for message queues a list of heads and texts in turn.
//
// What this form cannot express stays, under keys that are there only then, so that any image, damaged ones
// too, can be made again byte by byte:
//   "raw"             of an entry: its message as it was written; good as long as the fields beside it are
//   unchanged "unknown_fields"  of an entry: numbers of fields (with the path to them) that are only in "raw"
//   "padding"         of an entry: bytes of no meaning that were not zero
//   "byte_order"      "big", when the machine that was dumped was (s390x)
//   "image_version"   1, when the head has one magic only (CRIU before 1.7)
//   "head"            "common" or "service", where that is not the head of this kind
//   "rest"            of the image: bytes from where it stops to make sense
#pragma once

#include <string>
#include <string_view>

#include "images/finding.h"
#include "images/image_source.h"
#include "images/message_json.h"

namespace cprewind::images {

// `name` (of the file) is for findings. Throws base::Error of kind unsupported when the file has no magic
// that we know: raw images have no JSON.
Json decode_image(const ImageFile& file, std::string_view name, Findings& findings);

// Throws base::Error of kind usage that says what is wrong with `json`.
std::string encode_image(const Json& json);

}  // namespace cprewind::images

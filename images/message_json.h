// A message of an image as JSON, and back: the conventions are those of `crit decode` without --pretty, so
// that what was written for crit reads ours.
//
//   integers, booleans   as such            enumerations  their name
//   bytes                base64 in lines of 76 characters, each ended by a newline (Python's encodebytes)
//   a Unix socket's name quoted-printable   absent fields and empty lists are left out
//
// Text that is not UTF-8, on which crit stops, is {"base64": …}.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace google::protobuf {
class Message;
}

namespace cprewind::images {

using Json = nlohmann::ordered_json;

Json message_to_json(const google::protobuf::Message& message);

// Throws base::Error of kind usage that names the place where `json` is no such message. Keys that are no
// fields are passed over, as crit does.
void json_to_message(const Json& json, google::protobuf::Message& message);

// base64 as Python's encodebytes makes it; reading is tolerant of any white space, and throws base::Error.
std::string to_base64_lines(std::string_view bytes);
std::string parse_base64(const Json& text);

}  // namespace cprewind::images

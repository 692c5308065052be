// Bytes from the evidence as JSON: text where it is UTF-8; else the text with escapes, and the bytes in
// base64 beside it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "cli/output.h"
#include "images/finding.h"

namespace cprewind::cli {

// object[key] = text, object[key + "_base64"] = null or base64. Both fields are always there.
void put_bytes(Json& object, const std::string& key, std::string_view bytes);

// A list of strings whose items may be any bytes: items are strings; `key`_base64 is null or the list in
// base64.
void put_bytes(Json& object, const std::string& key, const std::vector<std::string>& items);

Json findings_json(const images::Findings& findings);
// One line a finding, for people, escaped.
void print_findings(Output& output, const images::Findings& findings);

// 64-bit addresses and masks exceed what JSON numbers keep exactly: "0x7ffd1000".
std::string hex_number(uint64_t value);

}  // namespace cprewind::cli

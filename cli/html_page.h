// Self-contained pages: one file, no network, works from file://. What the evidence says is data, never markup: it goes
// in as JSON, and the page's script puts it into text nodes.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "cli/output.h"

namespace cprewind::cli {

// `script` finds the document in `data`. `style` is added to the common one.
std::string html_page(std::string_view title, const Json& data, std::string_view style,
                      std::string_view script);

// Creates `path` (which must not exist) with 0600, since a page shows what memory held. Errors: io, usage when it is
// there already.
void write_new_page(const std::filesystem::path& path, std::string_view page);

}  // namespace cprewind::cli

// `diff --html`: the comparison as a page to look at.
#pragma once

#include <filesystem>

#include "cli/diff_sections.h"

namespace cprewind::cli {

// Writes the page to `path`, which must not exist, and says so. True when nothing differs.
bool write_diff_html(Context& context, const DiffRequest& request, const std::filesystem::path& path,
                     images::Findings& findings);

}  // namespace cprewind::cli

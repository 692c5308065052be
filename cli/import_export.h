// `cprewind import` of what `cprewind export` made; cmd_import.cpp asks here first.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "cli/command.h"
#include "images/image_source.h"

namespace cprewind::cli {

// The archive at `path` ("-": standard input, which is spooled beside the packs first) when it is an export of ours; null
// when it is anything else, or cannot be read as an archive.
std::unique_ptr<images::ImageSource> open_export(const Context& context, const std::string& path);

// Imports it and says so; the exit status. `container_name` renames when not empty.
int import_export(Context& context, const images::ImageSource& files, const std::string& container_name);

}  // namespace cprewind::cli

// A snapshot as a directory of plain files, for programs that know nothing of us.
#pragma once

#include <filesystem>

#include "cli/command.h"
#include "cli/subject.h"

namespace cprewind::cli {

// Writes overview.json, ps.json, fds.json, mem.json, files.json, container.json, files/ (the writable layer) and
// volumes/ into `directory` (empty, ours). Of layer and volumes come regular files, directories and relative links that
// do not lead up: nothing that is written or later read by way of them lies outside.
void write_answers(Context& context, const Subject& subject, const std::filesystem::path& directory);

}  // namespace cprewind::cli

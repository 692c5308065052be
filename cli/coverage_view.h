// `inspect --coverage`: where every byte of a checkpoint went.
#pragma once

#include "cli/command.h"
#include "cli/subject.h"

namespace cprewind::cli {

void show_coverage(Context& context, const Subject& subject, Json& document);

}  // namespace cprewind::cli

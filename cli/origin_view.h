// Where an archive or an imported snapshot is from, as words and as JSON.
#pragma once

#include "cli/output.h"
#include "images/origin.h"

namespace cprewind::cli {

// One line per fact that is known, in the overview's columns.
void print_origin(Output& output, const images::Origin& origin);

Json origin_json(const images::Origin& origin);

}  // namespace cprewind::cli

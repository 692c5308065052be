// The report as one self-contained page.
#pragma once

#include <string>

#include "cli/output.h"
#include "cli/subject.h"

namespace cprewind::cli {

// `report` is what `report --json` prints; processes, mappings and sockets are added from the views.
std::string report_page(const Subject& subject, const Json& report);

}  // namespace cprewind::cli

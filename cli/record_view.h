// A snapshot's record, as JSON and as words; the same wherever one is shown.
#pragma once

#include <chrono>
#include <string>

#include "cli/output.h"
#include "store/record.h"

namespace cprewind::cli {

Json record_json(const store::SnapshotRecord& record);

// "web@3: 1 process, 612 KiB of memory, 4.0 KiB of files"
std::string record_content(const store::SnapshotRecord& record);

// "2 min ago", for the recent; "2026-11-24 19:42:07" else.
std::string when(base::WallTime time, base::WallTime now);

}  // namespace cprewind::cli

// What `rewind` shows: the plan before (--dry-run), the result after.
#pragma once

#include <string>

#include "cli/output.h"
#include "engine/rewind.h"
#include "engine/rewind_plan.h"

namespace cprewind::cli {

void print_plan(Output& output, const std::string& container, const engine::RewindPlan& plan, bool all_files);
Json plan_json(const engine::RewindPlan& plan);

void print_rewind(Output& output, const std::string& container, const engine::RewindResult& result);
Json rewind_json(const engine::RewindResult& result);

}  // namespace cprewind::cli

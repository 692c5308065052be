// What a pack says about its snapshot: SnapshotInfo as one JSON object with sorted keys and no blanks, so
// that equal infos are equal bytes (the snapshot's id covers them).
//
//   {"architecture":…,"container_id":…,"container_image":…,"container_name":…,"criu":…,"engine":…,"kind":n,
//    "layer_bytes":n,"memory_bytes":n,"message":…,"parent":id|null,"process_count":n,"stall_ns":n,"tags":[…],
//    "taken_at_ns":n,"wall_ns":n}
//
// Text that is not UTF-8 is {"hex":"…"} instead of a string. Unknown keys are ignored: a later version may
// add some.
#pragma once

#include <string>
#include <string_view>

#include "store/record.h"

namespace cprewind::store {

std::string make_info_json(const SnapshotInfo& info);

// Error (damaged) with `name` in the message when it is not such an object.
SnapshotInfo parse_info_json(std::string_view text, std::string_view name);

}  // namespace cprewind::store

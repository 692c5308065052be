#include "cli/record_view.h"

#include <fmt/format.h>

#include "base/text.h"
#include "cli/json_text.h"

namespace cprewind::cli {

Json record_json(const store::SnapshotRecord& record) {
    const store::SnapshotInfo& info = record.info;
    auto milliseconds = [](std::chrono::nanoseconds d) {
        return std::chrono::duration<double, std::milli>(d).count();
    };
    Json object;
    object["id"] = record.id;
    object["name"] = record.name();
    object["number"] = record.number;
    object["kind"] = info.kind == store::SnapshotKind::safety ? "safety" : "manual";
    object["container_id"] = info.container_id;
    object["container_name"] = info.container_name;
    object["container_image"] = info.container_image;
    object["parent"] = info.parent ? Json(*info.parent) : Json();
    object["taken_at"] = base::rfc3339(info.taken_at);
    object["stall_ms"] = info.stall.count() > 0 ? Json(milliseconds(info.stall)) : Json();
    object["wall_ms"] = milliseconds(info.wall);
    put_bytes(object, "message", info.message);
    object["tags"] = info.tags;
    object["processes"] = info.process_count;
    object["memory_bytes"] = info.memory_bytes;
    object["file_bytes"] = info.layer_bytes;
    object["raw_bytes"] = record.raw_bytes;
    object["stored_bytes"] = record.stored_bytes;
    object["engine"] = info.engine;
    object["criu"] = info.criu;
    object["architecture"] = info.architecture;
    return object;
}

std::string record_content(const store::SnapshotRecord& record) {
    return fmt::format(
        "{}, {} of memory, {} of files", base::counted(record.info.process_count, "process", "processes"),
        base::human_bytes(record.info.memory_bytes), base::human_bytes(record.info.layer_bytes));
}

std::string when(base::WallTime time, base::WallTime now) {
    auto age = now - time;
    if (age < std::chrono::seconds(0) || age > std::chrono::hours(12)) return base::local_time(time);
    if (age < std::chrono::seconds(1)) return "just now";
    if (age < std::chrono::minutes(1)) return fmt::format("{} s ago", age / std::chrono::seconds(1));
    return base::human_duration(age) + " ago";
}

}  // namespace cprewind::cli

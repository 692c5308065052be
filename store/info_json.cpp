#include "store/info_json.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/fd.h"
#include "base/text.h"
#include "store/layout.h"

namespace cprewind::store {
namespace {

using nlohmann::json;

json text_value(const std::string& text) {
    if (base::is_utf8(text)) return text;
    return json{{"hex", base::to_hex(base::as_bytes(text))}};
}

std::string parse_text(const json& value) {
    if (value.is_string()) return value.get<std::string>();
    auto bytes = base::parse_hex(value.at("hex").get<std::string>());
    if (!bytes) throw std::runtime_error("text is neither a string nor hexadecimal");
    return std::string(base::as_text(*bytes));
}

// json::get would convert any number, with wrap-around.
template <typename T>
T integer(const json& value) {
    if constexpr (std::is_unsigned_v<T>) {
        if (!value.is_number_unsigned()) throw std::runtime_error("a count is not a natural number");
    } else {
        if (!value.is_number_integer()) throw std::runtime_error("a time is not an integer");
    }
    return value.get<T>();
}

}  // namespace

std::string make_info_json(const SnapshotInfo& info) {
    json tags = json::array();
    for (const std::string& tag : info.tags) tags.push_back(text_value(tag));
    json object = {
        {"kind", static_cast<int>(info.kind)},
        {"container_id", text_value(info.container_id)},
        {"container_name", text_value(info.container_name)},
        {"container_image", text_value(info.container_image)},
        {"parent", info.parent ? json(*info.parent) : json(nullptr)},
        {"taken_at_ns", info.taken_at.time_since_epoch().count()},
        {"stall_ns", info.stall.count()},
        {"wall_ns", info.wall.count()},
        {"message", text_value(info.message)},
        {"tags", std::move(tags)},
        {"process_count", info.process_count},
        {"memory_bytes", info.memory_bytes},
        {"layer_bytes", info.layer_bytes},
        {"engine", text_value(info.engine)},
        {"criu", text_value(info.criu)},
        {"architecture", text_value(info.architecture)},
    };
    return object.dump();
}

SnapshotInfo parse_info_json(std::string_view text, std::string_view name) {
    try {
        json object = json::parse(text);
        SnapshotInfo info;
        auto kind = integer<uint64_t>(object.at("kind"));
        if (kind > 1) throw std::runtime_error(fmt::format("unknown kind of snapshot {}", kind));
        info.kind = static_cast<SnapshotKind>(kind);
        info.container_id = parse_text(object.at("container_id"));
        info.container_name = parse_text(object.at("container_name"));
        info.container_image = parse_text(object.at("container_image"));
        if (const json& parent = object.at("parent"); !parent.is_null()) {
            info.parent = parent.get<std::string>();
            if (!is_snapshot_id(*info.parent)) throw std::runtime_error("the parent is not an id");
        }
        info.taken_at = base::WallTime(std::chrono::nanoseconds(integer<int64_t>(object.at("taken_at_ns"))));
        info.stall = std::chrono::nanoseconds(integer<int64_t>(object.at("stall_ns")));
        info.wall = std::chrono::nanoseconds(integer<int64_t>(object.at("wall_ns")));
        info.message = parse_text(object.at("message"));
        for (const json& tag : object.at("tags")) info.tags.push_back(parse_text(tag));
        info.process_count = integer<uint64_t>(object.at("process_count"));
        info.memory_bytes = integer<uint64_t>(object.at("memory_bytes"));
        info.layer_bytes = integer<uint64_t>(object.at("layer_bytes"));
        info.engine = parse_text(object.at("engine"));
        info.criu = parse_text(object.at("criu"));
        info.architecture = parse_text(object.at("architecture"));
        return info;
    } catch (const std::exception& error) {
        throw base::Error(base::ErrorKind::damaged,
                          fmt::format("{} is damaged: what it says about its snapshot cannot be read: {}",
                                      name, base::escape(error.what())),
                          "run `cprewind verify` to see what else is; this snapshot cannot be trusted");
    }
}

}  // namespace cprewind::store

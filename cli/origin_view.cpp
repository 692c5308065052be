#include "cli/origin_view.h"

#include <fmt/format.h>

#include "base/text.h"
#include "cli/json_text.h"

namespace cprewind::cli {

namespace {

using base::escape;

Json time_json(const std::optional<base::WallTime>& time) {
    return time ? Json(base::rfc3339(*time)) : Json();
}

// Null for what nobody told, not an empty text.
void put_known(Json& object, const char* key, const std::string& text) {
    put_bytes(object, key, text);
    if (text.empty()) object[key] = nullptr;
}

std::string or_unknown(const std::string& text) {
    return text.empty() ? "(unknown)" : escape(text);
}

}  // namespace

void print_origin(Output& output, const images::Origin& origin) {
    auto row = [&](const char* label, const std::string& text) {
        output.line(fmt::format("  {}{}", output.paint(Colour::dim, fmt::format("{:<12}", label)), text));
    };
    if (origin.engine != images::OriginEngine::unknown || !origin.container_name.empty()) {
        row("container",
            fmt::format("{} ({}) of image {}", or_unknown(origin.container_name),
                        or_unknown(origin.container_id.substr(0, 12)), or_unknown(origin.container_image)));
        std::string with =
            origin.engine == images::OriginEngine::unknown ? "" : images::name_of(origin.engine);
        if (!origin.engine_version.empty()) with += " " + escape(origin.engine_version);
        if (!origin.runtime.empty())
            with += fmt::format("{}{}", with.empty() ? "" : ", ", escape(origin.runtime));
        if (!origin.criu.empty())
            with += fmt::format("{}CRIU {}", with.empty() ? "" : ", ", escape(origin.criu));
        if (!with.empty()) row("made with", with);
    }
    if (!origin.pod.empty()) row("pod", escape(origin.pod));
    if (origin.created) row("created", base::local_time(*origin.created));
    if (origin.checkpointed && (origin.known() || !origin.checkpointed_by_file)) {
        row("taken", fmt::format("{}{}", base::local_time(*origin.checkpointed),
                                 origin.checkpointed_by_file ? " (time of the files)" : ""));
    }
    if (!origin.addresses.empty()) row("addresses", escape(base::join(origin.addresses, ", ")));
    for (const images::OriginPart& part : origin.parts) {
        std::string_view what = part.what;
        if (what == "volume" || what == "/dev/shm" || what == "container log")
            row(part.what == std::string_view("container log") ? "log" : part.what,
                fmt::format("{}, {}", escape(part.name), base::human_bytes(part.bytes)));
    }
}

Json origin_json(const images::Origin& origin) {
    Json object;
    object["engine"] =
        origin.engine == images::OriginEngine::unknown ? Json() : Json(images::name_of(origin.engine));
    put_known(object, "engine_version", origin.engine_version);
    put_known(object, "container_name", origin.container_name);
    put_known(object, "container_id", origin.container_id);
    put_known(object, "container_image", origin.container_image);
    put_known(object, "image_id", origin.image_id);
    put_known(object, "pod", origin.pod);
    put_known(object, "runtime", origin.runtime);
    put_known(object, "criu", origin.criu);
    put_bytes(object, "command", origin.command);
    put_bytes(object, "addresses", origin.addresses);
    object["created_at"] = time_json(origin.created);
    object["checkpointed_at"] = time_json(origin.checkpointed);
    object["checkpointed_at_is_file_time"] = origin.checkpointed_by_file;
    Json mounts = Json::array();
    for (const images::OriginMount& mount : origin.mounts) {
        Json item;
        put_bytes(item, "source", mount.source);
        put_bytes(item, "destination", mount.destination);
        mounts.push_back(std::move(item));
    }
    object["mounts"] = std::move(mounts);
    Json parts = Json::array();
    for (const images::OriginPart& part : origin.parts) {
        Json item;
        put_bytes(item, "name", part.name);
        item["what"] = part.what;
        item["bytes"] = part.bytes;
        parts.push_back(std::move(item));
    }
    object["parts"] = std::move(parts);
    return object;
}

}  // namespace cprewind::cli

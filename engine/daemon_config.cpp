#include "engine/daemon_config.h"

#include <algorithm>

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"

namespace cprewind::engine {
namespace {

using base::Error;
using base::ErrorKind;
using json = nlohmann::ordered_json;

// "line 3, column 14" of a byte offset.
std::string place_of(const std::string& text, size_t offset) {
    offset = std::min(offset, text.size());
    size_t line = 1;
    size_t column = 1;
    for (size_t i = 0; i < offset; ++i) {
        column = text[i] == '\n' ? 1 : column + 1;
        line += text[i] == '\n' ? 1 : 0;
    }
    return fmt::format("line {}, column {}", line, column);
}

json parse_config(const std::string& text, const std::string& file_name) {
    if (base::trim(text).empty()) return json::object();
    json document;
    try {
        document = json::parse(text);
    } catch (const json::parse_error& error) {
        throw Error(
            ErrorKind::failed,
            fmt::format("{} is not JSON: {}", file_name, place_of(text, error.byte > 0 ? error.byte - 1 : 0)),
            "mend it (dockerd --validate tells more), then run this again; nothing was changed");
    }
    if (!document.is_object()) {
        throw Error(ErrorKind::failed, fmt::format("{} holds JSON, but no object", file_name),
                    "mend it, then run this again; nothing was changed");
    }
    if (document.contains("runtimes") && !document["runtimes"].is_object()) {
        throw Error(ErrorKind::failed, fmt::format("\"runtimes\" in {} is not an object", file_name),
                    "mend it, then run this again; nothing was changed");
    }
    return document;
}

ConfigChange change_to(const std::string& before, const json& document, const json& original) {
    // Unchanged meaning keeps the file's own layout, to the byte.
    std::string after = document == original ? before : document.dump(4) + "\n";
    return {before, after, after};
}

}  // namespace

ConfigChange register_runtime(const std::string& text, const std::string& runtime_path, bool make_default,
                              const std::string& file_name) {
    json document = parse_config(text, file_name);
    json original = document;
    document["runtimes"][k_runtime_name] = {{"path", runtime_path}};
    if (make_default) {
        std::string other = document.contains("default-runtime") && document["default-runtime"].is_string()
                                ? document["default-runtime"].get<std::string>()
                                : "runc";
        if (other != "runc" && other != k_runtime_name) {
            throw Error(
                ErrorKind::failed,
                fmt::format("{} makes '{}' the default runtime, and cprewind's runtime stands on runc",
                            file_name, base::escape(other)),
                "run setup without --default-runtime and choose per container: docker run --runtime "
                "cprewind");
        }
        document["default-runtime"] = k_runtime_name;
    }
    return change_to(text, document, original);
}

ConfigChange unregister_runtime(const std::string& text, const std::string& file_name) {
    json document = parse_config(text, file_name);
    json original = document;
    json shown = document;
    if (document.contains("runtimes")) {
        document["runtimes"].erase(k_runtime_name);
        shown["runtimes"] = document["runtimes"];
        if (document["runtimes"].empty()) document.erase("runtimes");
    }
    if (document.contains("default-runtime") && document["default-runtime"] == k_runtime_name) {
        document.erase("default-runtime");
        shown["default-runtime"] = "runc";
    }
    ConfigChange change = change_to(text, document, original);
    if (change.changes()) change.reload = shown.dump(4) + "\n";
    return change;
}

}  // namespace cprewind::engine

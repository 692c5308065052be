#include "runtime/bundle.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/fd.h"
#include "runtime/loopback.h"

namespace cprewind::runtime {
namespace fs = std::filesystem;
// Keeps the order of keys, so that a person who compares the files sees only our lines.
using Json = nlohmann::ordered_json;

namespace {

constexpr uint64_t k_config_limit = 16u << 20;
// Far above what raising an interface takes; runc kills a hook that takes longer.
constexpr int k_hook_timeout_seconds = 10;

Json parse_object(const std::string& text, const std::string& name) {
    Json parsed = Json::parse(text, nullptr, false);
    if (!parsed.is_object()) {
        throw base::Error(base::ErrorKind::failed, fmt::format("{} is not a JSON object", name));
    }
    return parsed;
}

// The member `key` of `parent`, made as `empty` when absent or null; anything of another type is an Error.
Json& member(Json& parent, const char* key, const Json& empty) {
    Json& found = parent[key];
    if (found.is_null()) found = empty;
    if (found.type() != empty.type()) {
        throw base::Error(base::ErrorKind::failed,
                          fmt::format("config.json: \"{}\" has an unexpected type", key));
    }
    return found;
}

// CRIU binds a source that is a symbolic link as that link, and then cannot find what it just mounted ("Can't
// remount … with MS_PRIVATE: No such file or directory"); runc at a fresh start follows it. Debian's docker-init
// of --init is one.
void follow_links(Json& config) {
    auto mounts = config.find("mounts");
    if (mounts == config.end() || !mounts->is_array()) return;
    for (Json& mount : *mounts) {
        auto source = mount.is_object() ? mount.find("source") : mount.end();
        if (source == mount.end() || !source->is_string()) continue;
        fs::path path = source->get<std::string>();
        std::error_code failed;
        if (!path.is_absolute() || !fs::is_symlink(path, failed)) continue;
        fs::path target = fs::canonical(path, failed);
        if (!failed) *source = target.string();
    }
}

}  // namespace

void prepare_bundle(const fs::path& bundle, const fs::path& program, const Plan& plan) {
    fs::path path = bundle / "config.json";
    Json config = parse_object(base::read_file(path, k_config_limit), path.string());

    Json words = {program.string(), k_hook_verb};
    for (const std::string& address : plan.addresses) words.push_back(address);
    Json hook = {{"path", program.string()}, {"args", words}, {"timeout", k_hook_timeout_seconds}};
    Json& hooks = member(member(config, "hooks", Json::object()), "createRuntime", Json::array());
    if (std::find(hooks.begin(), hooks.end(), hook) == hooks.end()) hooks.push_back(hook);
    if (plan.criu_config)
        member(config, "annotations", Json::object())["org.criu.config"] = *plan.criu_config;

    follow_links(config);

    struct stat st {};
    if (::stat(path.c_str(), &st) != 0) base::throw_errno(errno, fmt::format("stat {}", path.string()));
    // Bytes that are not UTF-8 (a Go program would not have written them) become U+FFFD, as Go reads them.
    std::string text = config.dump(-1, ' ', false, Json::error_handler_t::replace);
    base::replace_file(path, text, st.st_mode & 0777);
}

}  // namespace cprewind::runtime

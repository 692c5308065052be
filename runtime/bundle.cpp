#include "runtime/bundle.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/fd.h"

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

}  // namespace

void prepare_bundle(const fs::path& bundle, const fs::path& program,
                    const std::optional<std::string>& criu_config) {
    fs::path path = bundle / "config.json";
    Json config = parse_object(base::read_file(path, k_config_limit), path.string());

    Json hook = {{"path", program.string()},
                 {"args", {program.string(), k_hook_verb}},
                 {"timeout", k_hook_timeout_seconds}};
    Json& hooks = member(member(config, "hooks", Json::object()), "createRuntime", Json::array());
    if (std::find(hooks.begin(), hooks.end(), hook) == hooks.end()) hooks.push_back(hook);
    if (criu_config) member(config, "annotations", Json::object())["org.criu.config"] = *criu_config;

    struct stat st {};
    if (::stat(path.c_str(), &st) != 0) base::throw_errno(errno, fmt::format("stat {}", path.string()));
    // Bytes that are not UTF-8 (a Go program would not have written them) become U+FFFD, as Go reads them.
    std::string text = config.dump(-1, ' ', false, Json::error_handler_t::replace);
    base::replace_file(path, text, st.st_mode & 0777);
}

void raise_loopback() {
    std::string text(1u << 20, '\0');
    text.resize(
        base::read_full(STDIN_FILENO, std::as_writable_bytes(std::span(text)), "the container's state"));
    Json state = parse_object(text, "the container's state");
    auto pid = state.find("pid");
    if (pid == state.end() || !pid->is_number_integer() || pid->get<int64_t>() <= 0) {
        throw base::Error(base::ErrorKind::failed, "the container's state names no pid");
    }

    base::Fd space = base::open_file(fmt::format("/proc/{}/ns/net", pid->get<int64_t>()), O_RDONLY);
    if (::setns(space.get(), CLONE_NEWNET) != 0)
        base::throw_errno(errno, "enter the container's network namespace");
    base::Fd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    if (!socket) base::throw_errno(errno, "open a socket");
    ifreq request{};
    std::strcpy(request.ifr_name, "lo");
    if (::ioctl(socket.get(), SIOCGIFFLAGS, &request) != 0) base::throw_errno(errno, "read the flags of lo");
    request.ifr_flags = static_cast<short>(request.ifr_flags | IFF_UP);
    if (::ioctl(socket.get(), SIOCSIFFLAGS, &request) != 0) base::throw_errno(errno, "raise lo");
}

}  // namespace cprewind::runtime

#include "engine/docker_client.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "base/error.h"
#include "base/text.h"
#include "engine/libcurl.h"

namespace cprewind::engine {
namespace {

using base::Error;
using base::ErrorKind;
using nlohmann::json;
using std::chrono::seconds;

// The newest and oldest versions of the API these calls were written for.
constexpr unsigned k_newest_minor = 52;
constexpr unsigned k_oldest_minor = 41;
// Dumping, stopping and restoring move gigabytes; nobody wants them cut short.
constexpr seconds k_long(3600);
// A daemon that answers more than this is not Docker.
constexpr size_t k_answer_limit = 64u << 20;

size_t collect(char* data, size_t size, size_t count, void* target) {
    auto& body = *static_cast<std::string*>(target);
    if (body.size() + size * count > k_answer_limit) return 0;
    body.append(data, size * count);
    return size * count;
}

std::string find_socket() {
    const char* host = std::getenv("DOCKER_HOST");
    if (host == nullptr || *host == '\0') return "/var/run/docker.sock";
    std::string_view text(host);
    if (text.starts_with("unix://")) return std::string(text.substr(7));
    throw Error(
        ErrorKind::unsupported,
        fmt::format("DOCKER_HOST is {}, which is not a Unix socket", base::escape(text)),
        "cprewind must run on the container's own host: set DOCKER_HOST=unix:///var/run/docker.sock there");
}

// The minor of "1.51", or 0.
unsigned minor_of(const std::string& version) {
    auto parts = base::split(version, '.');
    if (parts.size() != 2 || parts[0] != "1") return 0;
    return static_cast<unsigned>(base::parse_number(parts[1]).value_or(0));
}

std::string text_field(const json& object, const char* key) {
    auto it = object.find(key);
    return it != object.end() && it->is_string() ? it->get<std::string>() : std::string();
}

// What the daemon says in {"message": …}, or its bare words.
std::string message_in(const std::string& body) {
    json parsed = json::parse(body, nullptr, false);
    if (parsed.is_object() && parsed.contains("message")) return text_field(parsed, "message");
    return std::string(base::trim(body)).substr(0, 500);
}

// A name or id goes into a URL: only what a container can be called.
bool is_plausible_name(const std::string& name) {
    return !name.empty() && name.find_first_not_of(
                                "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                "0123456789_.-") == std::string::npos;
}

}  // namespace

unsigned EngineVersion::major() const {
    return static_cast<unsigned>(base::parse_number(base::split(engine, '.')[0]).value_or(0));
}

DockerClient::DockerClient() : socket_(find_socket()), curl_(libcurl().init()) {
    CPREWIND_CHECK(curl_ != nullptr);
    json version = call("GET", "/version", "ask Docker for its version", {}, seconds(10));
    version_.engine = text_field(version, "Version");
    unsigned newest = minor_of(text_field(version, "ApiVersion"));
    unsigned oldest = minor_of(text_field(version, "MinAPIVersion"));
    unsigned spoken = std::min(newest, k_newest_minor);
    if (newest < k_oldest_minor || oldest > k_newest_minor) {
        throw Error(ErrorKind::unsupported,
                    fmt::format("Docker {} speaks API {} to {}, cprewind speaks 1.{} to 1.{}",
                                version_.engine, text_field(version, "MinAPIVersion"),
                                text_field(version, "ApiVersion"), k_oldest_minor, k_newest_minor),
                    newest < k_oldest_minor ? "use Docker 20.10 or newer" : "use a newer cprewind");
    }
    version_.api = fmt::format("1.{}", spoken);
    version_.experimental = version.value("Experimental", false);
    prefix_ = "/v" + version_.api;
}

DockerClient::~DockerClient() {
    libcurl().cleanup(curl_);
}

DockerClient::Answer DockerClient::request(std::string_view method, const std::string& path,
                                           const std::optional<json>& body, seconds limit) {
    // Bytes that are not UTF-8 cannot come from Docker, which speaks Go's JSON; from a stored file they could.
    return send(method, path, body ? body->dump(-1, ' ', false, json::error_handler_t::replace) : "",
                "Content-Type: application/json", limit);
}

DockerClient::Answer DockerClient::send(std::string_view method, const std::string& path,
                                        const std::string& sent, const char* content_type, seconds limit) {
    Answer answer;
    const Libcurl& curl = libcurl();
    curl.reset(curl_);
    curl_slist* headers = curl.slist_append(nullptr, content_type);
    headers = curl.slist_append(headers, "Expect:");
    curl.setopt(curl_, CURLOPT_UNIX_SOCKET_PATH, socket_.c_str());
    curl.setopt(curl_, CURLOPT_URL, ("http://docker" + prefix_ + path).c_str());
    curl.setopt(curl_, CURLOPT_CUSTOMREQUEST, std::string(method).c_str());
    curl.setopt(curl_, CURLOPT_PROXY, "");
    curl.setopt(curl_, CURLOPT_NOSIGNAL, 1L);
    curl.setopt(curl_, CURLOPT_CONNECTTIMEOUT, 5L);
    curl.setopt(curl_, CURLOPT_TIMEOUT, static_cast<long>(limit.count()));
    curl.setopt(curl_, CURLOPT_HTTPHEADER, headers);
    curl.setopt(curl_, CURLOPT_WRITEFUNCTION, collect);
    curl.setopt(curl_, CURLOPT_WRITEDATA, &answer.body);
    if (method != "GET") {
        curl.setopt(curl_, CURLOPT_POSTFIELDS, sent.data());
        curl.setopt(curl_, CURLOPT_POSTFIELDSIZE, static_cast<long>(sent.size()));
    }
    CURLcode code = curl.perform(curl_);
    long connect_errno = 0;
    curl.getinfo(curl_, CURLINFO_OS_ERRNO, &connect_errno);
    curl.getinfo(curl_, CURLINFO_RESPONSE_CODE, &answer.status);
    curl.slist_free_all(headers);
    if (code == CURLE_OK) return answer;

    if (code == CURLE_COULDNT_CONNECT) {
        if (connect_errno == EACCES ||
            (::access(socket_.c_str(), F_OK) == 0 && ::access(socket_.c_str(), W_OK) != 0)) {
            throw Error(ErrorKind::permission, fmt::format("not allowed to use Docker's socket {}", socket_),
                        "run cprewind as root");
        }
        throw Error(ErrorKind::unavailable, fmt::format("Docker does not answer on {}", socket_),
                    "start it (systemctl start docker), or set DOCKER_HOST to its socket");
    }
    if (code == CURLE_OPERATION_TIMEDOUT) {
        throw Error(ErrorKind::unavailable,
                    fmt::format("Docker did not answer {} {} within {} s", method, path, limit.count()),
                    "see whether dockerd is stuck (journalctl -u docker)");
    }
    throw Error(ErrorKind::unavailable,
                fmt::format("talking to Docker on {} failed: {}", socket_, curl.strerror(code)),
                "see whether dockerd has died (journalctl -u docker)");
}

json DockerClient::call(std::string_view method, const std::string& path, std::string_view doing,
                        const std::optional<json>& body, seconds limit) {
    Answer answer = request(method, path, body, limit);
    if (answer.status >= 400) {
        ErrorKind kind = answer.status == 404   ? ErrorKind::not_found
                         : answer.status == 409 ? ErrorKind::busy
                                                : ErrorKind::failed;
        throw Error(kind,
                    fmt::format("cannot {}: Docker says: {}", doing, base::escape(message_in(answer.body))));
    }
    if (answer.body.empty()) return json();
    json parsed = json::parse(answer.body, nullptr, false);
    if (parsed.is_discarded()) {
        throw Error(ErrorKind::failed, fmt::format("cannot {}: Docker's answer is not JSON", doing),
                    fmt::format("is {} really Docker's socket?", socket_));
    }
    return parsed;
}

json DockerClient::info() {
    return call("GET", "/info", "ask Docker about its host");
}

json DockerClient::containers() {
    return call("GET", "/containers/json?all=1", "list containers");
}

json DockerClient::inspect_container(const std::string& name) {
    // Anything that no container can be called is not found, without asking.
    if (is_plausible_name(name)) {
        try {
            return call("GET", "/containers/" + name + "/json", "inspect " + name);
        } catch (const Error& error) {
            if (error.kind() != ErrorKind::not_found) throw;
        }
    }
    std::vector<std::string> names;
    for (const json& container : containers()) {
        for (const json& n : container.value("Names", json::array()))
            names.push_back(n.get<std::string>().substr(1));
    }
    std::string hint = base::did_you_mean(name, names);
    if (hint.empty()) hint = names.empty() ? "there are no containers here" : "docker ps -a lists them";
    throw Error(ErrorKind::not_found, fmt::format("no container is called '{}'", base::escape(name)), hint);
}

void DockerClient::pause(const std::string& id) {
    call("POST", "/containers/" + id + "/pause", "pause container " + id.substr(0, 12));
}

void DockerClient::unpause(const std::string& id) {
    Answer answer = request("POST", "/containers/" + id + "/unpause", {}, seconds(60));
    if (answer.status < 400) return;
    std::string message = message_in(answer.body);
    if (message.find("is not paused") != std::string::npos) return;
    throw Error(
        ErrorKind::failed,
        fmt::format("cannot resume container {}: Docker says: {}", id.substr(0, 12), base::escape(message)),
        fmt::format("resume it by hand: docker unpause {}", id.substr(0, 12)));
}

void DockerClient::kill(const std::string& id) {
    std::string doing = "stop container " + id.substr(0, 12);
    // `stop` rather than `kill`, since it marks the container as stopped on purpose: no restart policy brings
    // it back. Without the signal (API 1.42 has it) Docker waits t seconds between its stop signal and
    // SIGKILL.
    Answer answer = request("POST", "/containers/" + id + "/stop?t=0&signal=SIGKILL", {}, k_long);
    if (answer.status >= 400) {
        throw Error(ErrorKind::failed,
                    fmt::format("cannot {}: Docker says: {}", doing, base::escape(message_in(answer.body))));
    }
    call("POST", "/containers/" + id + "/wait?condition=not-running", doing, {}, k_long);
}

void DockerClient::start(const std::string& id, const std::optional<std::string>& checkpoint) {
    std::string query = checkpoint ? "?checkpoint=" + *checkpoint : std::string();
    call("POST", "/containers/" + id + "/start" + query, "start container " + id.substr(0, 12), {}, k_long);
}

std::string DockerClient::create(const std::string& name, const json& body) {
    if (!is_plausible_name(name)) {
        throw Error(ErrorKind::usage,
                    fmt::format("'{}' cannot be the name of a container", base::escape(name)),
                    "letters, digits, '_', '.' and '-', beginning with a letter or digit");
    }
    json made = call("POST", "/containers/create?name=" + name, "create container " + name, body, k_long);
    std::string id = made.is_object() ? text_field(made, "Id") : "";
    if (id.empty())
        throw Error(ErrorKind::failed, fmt::format("Docker created container {} without an id", name));
    return id;
}

void DockerClient::rename(const std::string& id, const std::string& new_name) {
    call("POST", "/containers/" + id + "/rename?name=" + new_name,
         fmt::format("rename container {} to {}", id.substr(0, 12), new_name));
}

void DockerClient::remove(const std::string& id, bool with_volumes) {
    try {
        call("DELETE", fmt::format("/containers/{}?force=1&v={}", id, with_volumes ? 1 : 0),
             "remove container " + id.substr(0, 12), {}, k_long);
    } catch (const Error& error) {
        if (error.kind() != ErrorKind::not_found) throw;
    }
}

void DockerClient::connect_network(const std::string& network, const std::string& id, const json& endpoint) {
    call("POST", "/networks/" + network + "/connect",
         fmt::format("connect container {} to network {}", id.substr(0, 12), network),
         json{{"Container", id}, {"EndpointConfig", endpoint}});
}

std::optional<std::string> DockerClient::image_id(const std::string& name) {
    // Names of images have slashes, which the API takes as they are; what would end the path has no business here.
    if (name.empty() || name.find_first_of("?#% \"\n") != std::string::npos) return std::nullopt;
    try {
        json image = call("GET", "/images/" + name + "/json", "inspect image " + name);
        return text_field(image, "Id");
    } catch (const Error& error) {
        if (error.kind() != ErrorKind::not_found) throw;
        return std::nullopt;
    }
}

void DockerClient::put_archive(const std::string& id, const std::string& path, const std::string& tar) {
    Answer answer = send("PUT", "/containers/" + id + "/archive?path=" + path, tar,
                         "Content-Type: application/x-tar", k_long);
    if (answer.status < 400) return;
    throw Error(ErrorKind::failed, fmt::format("cannot write into container {}: Docker says: {}",
                                               id.substr(0, 12), base::escape(message_in(answer.body))));
}

void DockerClient::checkpoint(const std::string& id, const std::string& name, const std::string& directory) {
    json body = {{"CheckpointID", name}, {"CheckpointDir", directory}, {"Exit", false}};
    call("POST", "/containers/" + id + "/checkpoints", "checkpoint container " + id.substr(0, 12), body,
         k_long);
}

}  // namespace cprewind::engine

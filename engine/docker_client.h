// The Docker Engine's API over its Unix socket: the few calls we make, each answer checked.
//
// Reference: the Engine API as of 1.41 (Docker 20.10) to 1.52; paths and fields used here are the same in all
// of them. Errors: unavailable (nobody listens, with how to start it), permission, not_found (with near
// names), and for all else `failed` with the daemon's own words.
#pragma once

#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace cprewind::engine {

struct EngineVersion {
    std::string engine;  // "28.5.2"
    std::string api;     // spoken with this daemon: "1.51"
    bool experimental = false;
    unsigned major() const;
};

// One connection, kept open between calls; not to be shared by threads or across fork().
class DockerClient {
 public:
    // Finds the socket in DOCKER_HOST, else /var/run/docker.sock, and agrees on a version.
    DockerClient();
    ~DockerClient();
    DockerClient(const DockerClient&) = delete;
    DockerClient& operator=(const DockerClient&) = delete;

    const std::string& socket_path() const { return socket_; }
    const EngineVersion& version() const { return version_; }

    nlohmann::json info();
    // All containers, as the list shows them.
    nlohmann::json containers();
    // By id, unique id prefix, or name.
    nlohmann::json inspect_container(const std::string& name);

    void pause(const std::string& id);
    // Being not paused is no error.
    void unpause(const std::string& id);
    // SIGKILL that restart policies take as the user's own stop; returns when the container is not running.
    void kill(const std::string& id);
    void start(const std::string& id, const std::optional<std::string>& checkpoint = {});
    // Makes a container from a create request (engine/clone.h) and returns its id.
    std::string create(const std::string& name, const nlohmann::json& body);
    void rename(const std::string& id, const std::string& new_name);
    // With its anonymous volumes or without; a running one is killed first. Being gone already is no error.
    void remove(const std::string& id, bool with_volumes);
    void connect_network(const std::string& network, const std::string& id, const nlohmann::json& endpoint);
    // The id of the container image that a name means now, or nothing.
    std::optional<std::string> image_id(const std::string& name);
    // Unpacks an uncompressed tar below `path` of the container's file system, running or not.
    void put_archive(const std::string& id, const std::string& path, const std::string& tar);
    // Leaves the container running. `directory` is where the daemon makes a directory `name`.
    void checkpoint(const std::string& id, const std::string& name, const std::string& directory);

 private:
    struct Answer {
        long status = 0;
        std::string body;
    };
    Answer request(std::string_view method, const std::string& path,
                   const std::optional<nlohmann::json>& body, std::chrono::seconds limit);
    Answer send(std::string_view method, const std::string& path, const std::string& body,
                const char* content_type, std::chrono::seconds limit);
    // Like request, but a status of 400 and more is an Error that begins with `doing` ("pause web").
    nlohmann::json call(std::string_view method, const std::string& path, std::string_view doing,
                        const std::optional<nlohmann::json>& body = {},
                        std::chrono::seconds limit = std::chrono::seconds(60));

    std::string socket_;
    std::string prefix_;  // "/v1.51"
    EngineVersion version_;
    void* curl_ = nullptr;
};

}  // namespace cprewind::engine

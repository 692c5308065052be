#include "engine/clone.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <random>

#include "base/error.h"
#include "base/text.h"
#include "engine/container.h"

namespace cprewind::engine {
namespace {

using base::Error;
using base::ErrorKind;
using nlohmann::json;
namespace fs = std::filesystem;

// The member, or null: versions of Docker differ in what they leave out.
json field(const json& object, const char* key) {
    auto it = object.is_object() ? object.find(key) : object.end();
    return object.is_object() && it != object.end() ? *it : json();
}

std::string word(const json& object, const char* key) {
    json value = field(object, key);
    return value.is_string() ? value.get<std::string>() : "";
}

json object_in(const json& inspect, const char* key) {
    json found = field(inspect, key);
    if (found.is_object()) return found;
    throw Error(
        ErrorKind::damaged,
        fmt::format("the description of the container has no object \"{}\", which Docker writes", key));
}

// "bridge" is called "default" by containers that did not choose.
std::string network_name(const std::string& mode) {
    return mode.empty() || mode == "default" ? "bridge" : mode;
}

bool joins_container(const std::string& mode) {
    return mode.starts_with("container:");
}

// "/db:/web/alias" as inspect has it, "db:alias" as create takes it.
json links_to_create(const json& links) {
    if (!links.is_array()) return links;
    json out = json::array();
    for (const json& link : links) {
        std::string text = link.is_string() ? link.get<std::string>() : "";
        size_t colon = text.find(':');
        std::string from = text.substr(0, colon);
        std::string alias = colon == text.npos ? "" : text.substr(colon + 1);
        if (from.starts_with('/')) from.erase(0, 1);
        alias = alias.substr(alias.rfind('/') + 1);  // npos + 1 is 0
        out.push_back(alias.empty() ? from : from + ":" + alias);
    }
    return out;
}

// What the user said about his container's place in a network.
json endpoint_to_create(const json& endpoint, const std::string& short_id, bool fixed_addresses) {
    json out = json::object();
    for (const char* key : {"Links", "DriverOpts", "GwPriority"}) {
        if (json value = field(endpoint, key); !value.is_null()) out[key] = value;
    }
    if (json addresses = field(endpoint, "IPAMConfig"); fixed_addresses && addresses.is_object()) {
        out["IPAMConfig"] = addresses;
    }
    json aliases = json::array();
    for (const json& alias : field(endpoint, "Aliases")) {
        if (alias != short_id) aliases.push_back(alias);  // before Docker 25 inspect shows it as an alias
    }
    if (!aliases.empty()) out["Aliases"] = aliases;
    return out;
}

// "name:/dest" and "name:/dest:options" with another name, and read-only if wanted.
std::string change_bind(const std::string& bind, const CloneChanges& changes) {
    auto parts = base::split(bind, ':');
    if (parts.size() < 2 || parts[0].starts_with('/')) return bind;  // a directory of the host
    if (auto other = changes.volumes.find(parts[0]); other != changes.volumes.end()) parts[0] = other->second;
    if (changes.volumes_read_only) {
        std::vector<std::string> options = {"ro"};
        if (parts.size() > 2) {
            for (const std::string& option : base::split(parts[2], ',')) {
                if (option != "rw" && option != "ro") options.push_back(option);
            }
        }
        parts.resize(2);
        parts.push_back(base::join(options, ","));
    }
    return base::join(parts, ":");
}

// Volumes by name: those of Binds and Mounts, and those that got one from Docker, which only "Mounts" of the
// description knows.
void carry_volumes(json& host, const json& inspect, const CloneChanges& changes) {
    json binds = json::array();
    std::vector<std::string> places;
    for (const json& bind : field(host, "Binds")) {
        if (!bind.is_string()) continue;
        auto parts = base::split(bind.get<std::string>(), ':');
        if (parts.size() > 1) places.push_back(parts[1]);
        binds.push_back(change_bind(bind.get<std::string>(), changes));
    }
    for (json& mount : host["Mounts"]) {
        places.push_back(word(mount, "Target"));
        if (word(mount, "Type") != "volume") continue;
        if (auto other = changes.volumes.find(word(mount, "Source")); other != changes.volumes.end()) {
            mount["Source"] = other->second;
        }
        if (changes.volumes_read_only) mount["ReadOnly"] = true;
    }
    bool from_others = !field(host, "VolumesFrom").empty();
    for (const json& mount : field(inspect, "Mounts")) {
        std::string place = word(mount, "Destination");
        std::string name = word(mount, "Name");
        if (word(mount, "Type") != "volume" || name.empty() || place.empty()) continue;
        bool named = std::find(places.begin(), places.end(), place) != places.end();
        // --volumes-from brings its own again.
        bool declared = field(field(inspect, "Config"), "Volumes").contains(place);
        if (named || (from_others && !declared)) continue;
        bool writable = field(mount, "RW") != json(false);
        binds.push_back(change_bind(fmt::format("{}:{}{}", name, place, writable ? "" : ":ro"), changes));
    }
    host["Binds"] = binds;
    if (host["Mounts"].empty()) host.erase("Mounts");
}

// The one at creation is the network that the container's mode names; the others follow.
void set_networks(CreateRequest& request, json& host, const json& inspect, const CloneChanges& changes) {
    std::string short_id = word(inspect, "Id").substr(0, 12);
    if (changes.network) {
        host["NetworkMode"] = *changes.network;
        return;
    }
    std::string mode = network_name(word(host, "NetworkMode"));
    if (mode == "host" || mode == "none" || joins_container(mode)) return;
    json first = json::object();
    json networks = field(field(inspect, "NetworkSettings"), "Networks");
    for (const auto& [name, endpoint] : networks.items()) {
        json wanted = endpoint_to_create(endpoint, short_id, changes.fixed_addresses);
        if (name == mode || word(endpoint, "NetworkID") == mode) {
            first = {{mode, wanted}};
        } else {
            request.further_networks.emplace_back(name, wanted);
        }
    }
    if (!first.empty()) request.body["NetworkingConfig"] = {{"EndpointsConfig", first}};
}

std::string random_word() {
    std::random_device random;
    return fmt::format("{:08x}{:08x}{:08x}", random(), random(), random());
}

// A tar with one empty regular file.
std::string tar_of_marker(const std::string& name) {
    std::string header(512, '\0');
    auto put = [&header](size_t at, std::string_view text) {
        std::memcpy(&header[at], text.data(), text.size());
    };
    put(0, name);
    put(100, "0000600");
    put(108, "0000000");
    put(116, "0000000");
    put(124, "00000000000");
    put(136, "00000000000");
    put(148, "        ");
    put(156, "0");
    put(257, std::string_view("ustar\0"
                              "00",
                              8));
    unsigned sum = 0;
    for (char c : header) sum += static_cast<unsigned char>(c);
    put(148, fmt::format("{:06o}", sum));
    header[154] = '\0';
    return header + std::string(1024, '\0');
}

}  // namespace

CreateRequest create_request(const json& inspect, const CloneChanges& changes) {
    CreateRequest request;
    json config = object_in(inspect, "Config");
    json host = object_in(inspect, "HostConfig");
    request.body = config;
    json& body = request.body;

    if (!changes.image.empty()) body["Image"] = changes.image;
    // Without a word about it Docker would take the image's entry point, which the user had taken away.
    if (field(config, "Entrypoint").empty()) body["Entrypoint"] = {""};
    // Not what the user said, but Docker: deprecated, or the MAC address of the first network.
    if (!changes.fixed_addresses || word(config, "MacAddress").empty()) body.erase("MacAddress");

    if (!changes.runtime.empty()) host["Runtime"] = changes.runtime;
    if (changes.port_bindings) host["PortBindings"] = *changes.port_bindings;
    if (changes.port_bindings) host["PublishAllPorts"] = false;
    if (!changes.auto_remove) host["AutoRemove"] = false;
    if (!changes.restart_policy) host["RestartPolicy"] = {{"Name", "no"}, {"MaximumRetryCount", 0}};
    host.erase("ContainerIDFile");
    host["Links"] = links_to_create(field(host, "Links"));
    if (!host["Mounts"].is_array()) host["Mounts"] = json::array();
    carry_volumes(host, inspect, changes);
    set_networks(request, host, inspect, changes);
    // Docker fills these from the other container or the host, and refuses them from a user.
    std::string mode = word(host, "NetworkMode");
    if (joins_container(mode)) {
        for (const char* key : {"Hostname", "Domainname", "ExposedPorts"}) body.erase(key);
        for (const char* key : {"PortBindings", "PublishAllPorts", "Dns", "ExtraHosts"}) host.erase(key);
    }
    if (word(host, "UTSMode") == "host") body.erase("Hostname");
    body["HostConfig"] = host;
    return request;
}

std::string pinned_image(DockerClient& docker, const json& inspect) {
    std::string id = word(inspect, "Image");
    std::string words = word(field(inspect, "Config"), "Image");
    auto now = docker.image_id(words);
    if (now && (*now == id || id.empty())) return words;
    if (!id.empty() && docker.image_id(id)) return id;
    throw Error(
        ErrorKind::not_found,
        fmt::format("the container image {} ({}) that the container was made from is not here any more",
                    base::escape(words), base::escape(id.substr(0, 19))),
        "load or pull it again: docker load, docker pull");
}

std::string create_container(DockerClient& docker, const std::string& name, const CreateRequest& request) {
    std::string id = docker.create(name, request.body);
    try {
        for (const auto& [network, endpoint] : request.further_networks) {
            docker.connect_network(network, id, endpoint);
        }
    } catch (const Error&) {
        docker.remove(id, false);
        throw;
    }
    return id;
}

fs::path find_unstarted_layer(DockerClient& docker, const std::string& id) {
    if (auto known = find_writable_layer(find_container(docker, id))) return *known;
    std::string marker = ".cprewind-" + random_word();
    docker.put_archive(id, "/", tar_of_marker(marker));
    fs::path docker_root = docker.info().value("DockerRootDir", "/var/lib/docker");
    std::string snapshotter = "io.containerd.snapshotter.v1.overlayfs/snapshots";
    std::error_code ignored;
    for (const fs::path& containerd : {docker_root / "containerd/daemon", fs::path("/var/lib/containerd")}) {
        for (const fs::directory_entry& entry : fs::directory_iterator(containerd / snapshotter, ignored)) {
            fs::path layer = entry.path() / "fs";
            if (fs::remove(layer / marker, ignored)) return layer;
        }
    }
    throw Error(ErrorKind::unsupported,
                fmt::format("the writable layer of the new container {} cannot be found", id.substr(0, 12)),
                "cprewind needs Docker's overlay2 driver or containerd's overlayfs snapshotter, and to run "
                "where dockerd runs");
}

}  // namespace cprewind::engine

#include "engine/clone.h"

#include <catch2/catch_test_macros.hpp>

#include "base/error.h"

using namespace cprewind::engine;
using nlohmann::json;

namespace {

// The parts of `docker inspect` (28.5) that matter here.
json description() {
    return json::parse(R"({
      "Id": "aaaaaaaaaaaabbbbbbbbbbbb", "Name": "/web", "Image": "sha256:1",
      "Config": {"Hostname": "aaaaaaaaaaaa", "Image": "work", "Env": ["A=1"], "Cmd": ["x"], "Entrypoint": null,
                 "Labels": {"l": "v"}, "Healthcheck": {"Test": ["CMD", "true"]}, "Volumes": {"/anon": {}},
                 "ExposedPorts": {"80/tcp": {}}},
      "HostConfig": {"Runtime": "runc", "NetworkMode": "net1", "ContainerIDFile": "/x", "Binds": ["data:/data:z", "/srv:/srv"],
                     "PortBindings": {"80/tcp": [{"HostIp": "", "HostPort": "8080"}]}, "Links": ["/db:/web/base"],
                     "RestartPolicy": {"Name": "always", "MaximumRetryCount": 0}, "Memory": 64000000, "AutoRemove": true,
                     "Mounts": [{"Type": "volume", "Source": "more", "Target": "/more"},
                                {"Type": "tmpfs", "Target": "/t"}]},
      "Mounts": [{"Type": "volume", "Name": "data", "Source": "/v/data", "Destination": "/data", "RW": true},
                 {"Type": "volume", "Name": "cafe", "Source": "/v/cafe", "Destination": "/anon", "RW": true},
                 {"Type": "volume", "Name": "more", "Source": "/v/more", "Destination": "/more", "RW": true},
                 {"Type": "bind", "Source": "/srv", "Destination": "/srv", "RW": true}],
      "NetworkSettings": {"Networks": {
        "net1": {"IPAMConfig": {"IPv4Address": "10.9.0.7"}, "Aliases": ["www", "aaaaaaaaaaaa"], "IPAddress": "10.9.0.7",
                 "MacAddress": "02:42:0a:09:00:07", "NetworkID": "n1"},
        "net2": {"IPAMConfig": null, "Aliases": null, "IPAddress": "10.8.0.2", "NetworkID": "n2"}}}})");
}

}  // namespace

TEST_CASE("a clone has the configuration of the original, its runtime excepted") {
    CreateRequest request = create_request(description(), {.runtime = "cprewind"});
    const json& body = request.body;
    CHECK(body["Env"] == json{"A=1"});
    CHECK(body["Labels"]["l"] == "v");
    CHECK(body["Hostname"] == "aaaaaaaaaaaa");
    CHECK(body["Healthcheck"]["Test"] == json({"CMD", "true"}));
    CHECK(body["HostConfig"]["Runtime"] == "cprewind");
    CHECK(body["HostConfig"]["Memory"] == 64000000);
    CHECK(body["HostConfig"]["RestartPolicy"]["Name"] == "always");
    CHECK(body["HostConfig"]["PortBindings"]["80/tcp"][0]["HostPort"] == "8080");
    CHECK_FALSE(body["HostConfig"].contains("ContainerIDFile"));
}

TEST_CASE("an entry point that the user took away does not come back from the image") {
    CHECK(create_request(description(), {}).body["Entrypoint"] == json{""});
}

TEST_CASE("what the user said of a network is kept, what Docker chose is not") {
    CreateRequest request = create_request(description(), {});
    json endpoint = request.body["NetworkingConfig"]["EndpointsConfig"]["net1"];
    CHECK(endpoint["IPAMConfig"]["IPv4Address"] == "10.9.0.7");
    CHECK(endpoint["Aliases"] == json{"www"});
    CHECK_FALSE(endpoint.contains("IPAddress"));
    CHECK_FALSE(endpoint.contains("MacAddress"));
    REQUIRE(request.further_networks.size() == 1);
    CHECK(request.further_networks[0].first == "net2");
    CHECK(request.body["HostConfig"]["Links"] == json{"db:base"});
}

TEST_CASE("a clone beside the original can leave its addresses and ports") {
    CreateRequest request = create_request(description(), {.port_bindings = json::object(),
                                                           .fixed_addresses = false,
                                                           .auto_remove = false,
                                                           .restart_policy = false});
    CHECK_FALSE(request.body["NetworkingConfig"]["EndpointsConfig"]["net1"].contains("IPAMConfig"));
    CHECK(request.body["HostConfig"]["PortBindings"] == json::object());
    CHECK(request.body["HostConfig"]["AutoRemove"] == false);
    CHECK(request.body["HostConfig"]["RestartPolicy"]["Name"] == "no");
    CreateRequest elsewhere = create_request(description(), {.network = "none"});
    CHECK(elsewhere.body["HostConfig"]["NetworkMode"] == "none");
    CHECK_FALSE(elsewhere.body.contains("NetworkingConfig"));
    CHECK(elsewhere.further_networks.empty());
}

TEST_CASE("the volumes stay the same volumes, the anonymous one too") {
    json binds = create_request(description(), {}).body["HostConfig"]["Binds"];
    CHECK(binds == json({"data:/data:z", "/srv:/srv", "cafe:/anon"}));
}

TEST_CASE("volumes can be other ones, or read-only; directories of the host are left alone") {
    CloneChanges changes;
    changes.volumes = {{"data", "data2"}, {"more", "more2"}, {"cafe", "cafe2"}};
    changes.volumes_read_only = true;
    json host = create_request(description(), changes).body["HostConfig"];
    CHECK(host["Binds"] == json({"data2:/data:ro,z", "/srv:/srv", "cafe2:/anon:ro"}));
    CHECK(host["Mounts"][0]["Source"] == "more2");
    CHECK(host["Mounts"][0]["ReadOnly"] == true);
    CHECK_FALSE(host["Mounts"][1].contains("ReadOnly"));
}

TEST_CASE("a container in the network of another takes nothing that Docker refuses there") {
    json joined = description();
    joined["HostConfig"]["NetworkMode"] = "container:abc";
    CreateRequest request = create_request(joined, {});
    CHECK_FALSE(request.body.contains("Hostname"));
    CHECK_FALSE(request.body.contains("ExposedPorts"));
    CHECK_FALSE(request.body["HostConfig"].contains("PortBindings"));
    CHECK_FALSE(request.body.contains("NetworkingConfig"));
}

TEST_CASE("what is no description of a container is refused, not guessed") {
    CHECK_THROWS_AS(create_request(json::object(), {}), cprewind::base::Error);
    CHECK_THROWS_AS(create_request(json::array(), {}), cprewind::base::Error);
    json without = description();
    without["HostConfig"] = nullptr;
    CHECK_THROWS_AS(create_request(without, {}), cprewind::base::Error);
}

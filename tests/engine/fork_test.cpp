#include "engine/fork.h"

#include <catch2/catch_test_macros.hpp>

#include "base/error.h"
#include "engine/suspend.h"

using namespace cprewind;
using namespace cprewind::engine;
using nlohmann::json;

TEST_CASE("ports are read as docker run has them") {
    CHECK(port_bindings_of({}, 0) == json::object());
    CHECK(port_bindings_of({"80"}, 0) == json::parse(R"({"80/tcp": [{"HostIp": "", "HostPort": ""}]})"));
    CHECK(port_bindings_of({"8080:80"}, 0) ==
          json::parse(R"({"80/tcp": [{"HostIp": "", "HostPort": "8080"}]})"));
    CHECK(port_bindings_of({"127.0.0.1:8080:80/udp"}, 0) ==
          json::parse(R"({"80/udp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}]})"));
    CHECK(port_bindings_of({"127.0.0.1::80"}, 0) ==
          json::parse(R"({"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]})"));
    CHECK(port_bindings_of({"[::1]:8080:80"}, 0) ==
          json::parse(R"({"80/tcp": [{"HostIp": "::1", "HostPort": "8080"}]})"));
    CHECK(port_bindings_of({"1:80", "2:80"}, 0)["80/tcp"].size() == 2);
}

TEST_CASE("fixed ports of the host count up with the number of the fork, others do not") {
    CHECK(port_bindings_of({"8080:80"}, 7)["80/tcp"][0]["HostPort"] == "8087");
    CHECK(port_bindings_of({"80"}, 7)["80/tcp"][0]["HostPort"] == "");
}

TEST_CASE("what is no port is refused") {
    for (const char* text : {"", "x", "0", "70000", "80/ftp", "99999:80", "a:80", "8080:", ":", "80:x"}) {
        INFO(text);
        CHECK_THROWS_AS(port_bindings_of({text}, 0), base::Error);
    }
    CHECK_THROWS_AS(port_bindings_of({"65535:80"}, 1), base::Error);
}

TEST_CASE("a label is asked for with its value or without") {
    json labels = {{"tier", "db"}, {"keep", ""}};
    CHECK(has_labels(labels, {}));
    CHECK(has_labels(labels, {"tier"}));
    CHECK(has_labels(labels, {"tier=db", "keep="}));
    CHECK_FALSE(has_labels(labels, {"tier=web"}));
    CHECK_FALSE(has_labels(labels, {"tier", "other"}));
    CHECK_FALSE(has_labels(json(), {"tier"}));
}

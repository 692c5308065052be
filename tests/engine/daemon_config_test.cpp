#include "engine/daemon_config.h"

#include <catch2/catch_test_macros.hpp>
#include <nlohmann/json.hpp>

#include "base/error.h"

using namespace cprewind::engine;
using cprewind::base::Error;
using nlohmann::json;

namespace {
const std::string k_file = "daemon.json";
}

TEST_CASE("the runtime goes into a new file and out of it again") {
    ConfigChange change = register_runtime("", "/usr/local/bin/cprewind-runtime", false, k_file);
    CHECK(json::parse(change.after) ==
          json::parse(R"({"runtimes": {"cprewind": {"path": "/usr/local/bin/cprewind-runtime"}}})"));
    ConfigChange back = unregister_runtime(change.after, k_file);
    CHECK(json::parse(back.after) == json::object());
    CHECK(json::parse(back.reload) == json::parse(R"({"runtimes": {}})"));
}

TEST_CASE("all else stays, in its order") {
    std::string before = R"({"zeta": 1, "runtimes": {"kata": {"path": "/k"}}, "alpha": [true]})";
    ConfigChange change = register_runtime(before, "/r", true, k_file);
    json after = json::parse(change.after);
    CHECK(after["zeta"] == 1);
    CHECK(after["runtimes"]["kata"]["path"] == "/k");
    CHECK(after["default-runtime"] == "cprewind");
    CHECK(change.after.find("zeta") < change.after.find("alpha"));
    CHECK(json::parse(unregister_runtime(change.after, k_file).after) == json::parse(before));
}

TEST_CASE("what says so already is not touched, to the byte") {
    std::string text = "{ \"runtimes\" : {\"cprewind\":{\"path\":\"/r\"}}   }";
    CHECK_FALSE(register_runtime(text, "/r", false, k_file).changes());
    CHECK_FALSE(unregister_runtime("{ }  ", k_file).changes());
    CHECK_FALSE(unregister_runtime("", k_file).changes());
}

TEST_CASE("a file that is not JSON is refused with the place of the mistake") {
    try {
        register_runtime("{\n  \"a\": 1,\n  oops\n}", "/r", false, k_file);
        FAIL("no error");
    } catch (const Error& error) {
        CHECK(error.message() == "daemon.json is not JSON: line 3, column 3");
    }
    CHECK_THROWS_AS(register_runtime("[1]", "/r", false, k_file), Error);
    CHECK_THROWS_AS(register_runtime(R"({"runtimes": 1})", "/r", false, k_file), Error);
}

TEST_CASE("a default runtime that somebody chose is not overruled") {
    CHECK_THROWS_AS(register_runtime(R"({"default-runtime": "kata"})", "/r", true, k_file), Error);
    CHECK_NOTHROW(register_runtime(R"({"default-runtime": "kata"})", "/r", false, k_file));
    CHECK_FALSE(unregister_runtime(R"({"default-runtime": "kata"})", k_file).changes());
}

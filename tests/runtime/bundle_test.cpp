// The change to config.json: exactly what restoring needs, nothing else.
#include "runtime/bundle.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <catch2/catch_test_macros.hpp>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/fd.h"

using namespace cprewind::runtime;
namespace base = cprewind::base;
namespace fs = std::filesystem;

TEST_CASE("the bundle gets one hook and the annotation and keeps all else") {
    base::TemporaryDirectory bundle("/tmp", "cprewind-bundle-");
    auto path = bundle.path() / "config.json";
    std::string before =
        R"({"zeta":1,"alpha":{"limit":-1,"big":9223372036854775807,"huge":18446744073709551615},)"
        R"("hooks":{"prestart":[{"path":"/p"}],"createRuntime":[{"path":"/q","args":["q"]}]},)"
        R"("annotations":{"a":"<ü>"}})";
    base::replace_file(path, before, 0640);

    Plan plan{.images = "/i",
              .options = {},
              .criu_config = "/etc/criu/x.conf",
              .addresses = {"10.0.0.7", "fd00::7"}};
    prepare_bundle(bundle.path(), "/opt/cprewind-runtime", plan);
    std::string once = base::read_file(path);
    auto config = nlohmann::json::parse(once);
    auto expected = nlohmann::json::parse(before);
    expected["annotations"]["org.criu.config"] = "/etc/criu/x.conf";
    expected["hooks"]["createRuntime"].push_back(
        {{"path", "/opt/cprewind-runtime"},
         {"args", {"/opt/cprewind-runtime", "hook-lo", "10.0.0.7", "fd00::7"}},
         {"timeout", 10}});
    CHECK(config == expected);
    CHECK(once.find("zeta") < once.find("alpha"));
    struct stat st {};
    REQUIRE(::stat(path.c_str(), &st) == 0);
    CHECK((st.st_mode & 0777) == 0640);

    prepare_bundle(bundle.path(), "/opt/cprewind-runtime", plan);
    CHECK(base::read_file(path) == once);
}

TEST_CASE("a bundle without hooks or with null hooks gets them") {
    base::TemporaryDirectory bundle("/tmp", "cprewind-bundle-");
    auto path = bundle.path() / "config.json";
    for (const char* text : {"{}", R"({"hooks":null})", R"({"hooks":{"createRuntime":null}})"}) {
        base::replace_file(path, text);
        prepare_bundle(bundle.path(), "/r", {});
        auto config = nlohmann::json::parse(base::read_file(path));
        CHECK(config["hooks"]["createRuntime"].size() == 1);
        CHECK_FALSE(config.contains("annotations"));
    }
}

TEST_CASE("a mount's source that is a symbolic link becomes what it points to, others stay") {
    base::TemporaryDirectory bundle("/tmp", "cprewind-bundle-");
    fs::path file = fs::canonical(bundle.path()) / "file";
    base::replace_file(file, "");
    fs::create_symlink("file", bundle.path() / "link");
    fs::create_symlink("nowhere", bundle.path() / "dangling");
    std::string place = bundle.path().string();
    base::replace_file(
        bundle.path() / "config.json",
        fmt::format(R"({{"mounts":[{{"source":"{0}/link"}},{{"source":"{0}/dangling"}},{{"source":"link"}},)"
                    R"({{"source":"proc"}},{{"type":"proc"}},7,{{"source":7}}]}})",
                    place));
    prepare_bundle(bundle.path(), "/r", {});
    auto mounts = nlohmann::json::parse(base::read_file(bundle.path() / "config.json"))["mounts"];
    CHECK(mounts ==
          nlohmann::json::parse(fmt::format(
              R"([{{"source":"{}"}},{{"source":"{}/dangling"}},{{"source":"link"}},{{"source":"proc"}},)"
              R"({{"type":"proc"}},7,{{"source":7}}])",
              file.string(), place)));
}

TEST_CASE("a bundle that is not one is an error and stays as it is") {
    base::TemporaryDirectory bundle("/tmp", "cprewind-bundle-");
    auto path = bundle.path() / "config.json";
    CHECK_THROWS_AS(prepare_bundle(bundle.path(), "/r", {}), base::Error);
    for (const char* text : {"", "[]", "{", R"({"hooks":[]})", R"({"hooks":{"createRuntime":{}}})"}) {
        base::replace_file(path, text);
        CHECK_THROWS_AS(prepare_bundle(bundle.path(), "/r", {}), base::Error);
        CHECK(base::read_file(path) == text);
    }
}

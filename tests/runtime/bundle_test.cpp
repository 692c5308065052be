// The change to config.json: exactly what restoring needs, nothing else.
#include "runtime/bundle.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <cstring>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/error.h"
#include "base/fd.h"
#include "base/process.h"

using namespace cprewind::runtime;
namespace base = cprewind::base;
namespace fs = std::filesystem;

namespace {

bool is_loopback_up(pid_t pid) {
    bool up = false;
    // A thread of its own, for it does not come back from the other namespace.
    std::thread([&] {
        base::Fd space = base::open_file(fmt::format("/proc/{}/ns/net", pid), O_RDONLY);
        if (::setns(space.get(), CLONE_NEWNET) != 0) return;
        base::Fd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
        ifreq request{};
        std::strcpy(request.ifr_name, "lo");
        up = ::ioctl(socket.get(), SIOCGIFFLAGS, &request) == 0 && (request.ifr_flags & IFF_UP) != 0;
    }).join();
    return up;
}

base::ExitStatus run_hook(const fs::path& directory, std::string_view state) {
    base::replace_file(directory / "state", state);
    base::Fd input = base::open_file(directory / "state", O_RDONLY);
    base::SpawnOptions options;
    options.standard_in = input.get();
    return base::Child({CPREWIND_RUNTIME_PROGRAM, k_hook_verb}, options).wait();
}

}  // namespace

TEST_CASE("the bundle gets one hook and the annotation and keeps all else") {
    base::TemporaryDirectory bundle("/tmp", "cprewind-bundle-");
    auto path = bundle.path() / "config.json";
    std::string before =
        R"({"zeta":1,"alpha":{"limit":-1,"big":9223372036854775807,"huge":18446744073709551615},)"
        R"("hooks":{"prestart":[{"path":"/p"}],"createRuntime":[{"path":"/q","args":["q"]}]},)"
        R"("annotations":{"a":"<ü>"}})";
    base::replace_file(path, before, 0640);

    prepare_bundle(bundle.path(), "/opt/cprewind-runtime", "/etc/criu/x.conf");
    std::string once = base::read_file(path);
    auto config = nlohmann::json::parse(once);
    auto expected = nlohmann::json::parse(before);
    expected["annotations"]["org.criu.config"] = "/etc/criu/x.conf";
    expected["hooks"]["createRuntime"].push_back(
        {{"path", "/opt/cprewind-runtime"}, {"args", {"/opt/cprewind-runtime", "hook-lo"}}, {"timeout", 10}});
    CHECK(config == expected);
    CHECK(once.find("zeta") < once.find("alpha"));
    struct stat st {};
    REQUIRE(::stat(path.c_str(), &st) == 0);
    CHECK((st.st_mode & 0777) == 0640);

    prepare_bundle(bundle.path(), "/opt/cprewind-runtime", "/etc/criu/x.conf");
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

TEST_CASE("the hook raises lo in the container's network namespace, and never fails a restore") {
    REQUIRE(::geteuid() == 0);
    base::TemporaryDirectory directory("/tmp", "cprewind-hook-");
    base::Child container({"unshare", "--net", "sleep", "60"});
    fs::path space = fmt::format("/proc/{}/ns/net", container.pid());
    while (fs::read_symlink(space) == fs::read_symlink("/proc/self/ns/net")) std::this_thread::yield();
    for (const char* state : {"", "[]", "{}", R"({"pid":"1"})", R"({"pid":-1})", R"({"pid":99999999})"}) {
        CHECK(run_hook(directory.path(), state).success());
    }
    CHECK_FALSE(is_loopback_up(container.pid()));
    CHECK(run_hook(directory.path(), fmt::format(R"({{"ociVersion":"1.2.0","pid":{}}})", container.pid()))
              .success());
    CHECK(is_loopback_up(container.pid()));
}

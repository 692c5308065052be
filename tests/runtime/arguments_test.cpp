// Reading runc's command line: all that is understood, and that everything else is not understood at all.
#include "runtime/arguments.h"

#include <catch2/catch_test_macros.hpp>

#include "base/text.h"

using namespace cprewind::runtime;

namespace {

std::optional<CommandLine> parse(const std::string& text) {
    return parse_command_line(cprewind::base::split(text, ' '));
}

}  // namespace

TEST_CASE("the create of containerd's shim is understood") {
    auto line = parse(
        "--root /var/run/docker/runtime-runc/moby --log /b/log.json --log-format json --systemd-cgroup "
        "create "
        "--bundle /b --pid-file /b/init.pid --console-socket /tmp/s --no-pivot 0123abc");
    REQUIRE(line);
    CHECK(line->verb == "create");
    CHECK(line->container_id == "0123abc");
    CHECK(line->log == "/b/log.json");
    CHECK(line->log_format == "json");
    CHECK(line->bundle == "/b");
    CHECK(line->pid_file == "/b/init.pid");
    CHECK(line->console_socket == "/tmp/s");
    CHECK(line->no_pivot);
    CHECK(line->global_options.size() == 7);
}

TEST_CASE("one dash, two dashes and an equals sign mean the same") {
    auto line = parse("-root=/r --log=/l -debug create -b /b --pid-file=/p id");
    REQUIRE(line);
    CHECK(line->global_options == std::vector<std::string>{"-root=/r", "--log=/l", "-debug"});
    CHECK(line->bundle == "/b");
    CHECK(line->pid_file == "/p");
}

TEST_CASE("start and delete are understood") {
    CHECK(parse("--root /r start id")->verb == "start");
    CHECK(parse("--root /r delete --force id")->container_id == "id");
    CHECK(parse("delete -f id")->container_id == "id");
}

TEST_CASE("what is not understood to its last word is not understood") {
    for (const char* text : {
             "",
             "--root",
             "--root /r",
             "create",
             "create --bundle",
             "create --bundle /b",
             "create id more",
             "--new-global x create id",
             "create --new-option id",
             "create --pidfd-socket /s id",
             "create --preserve-fds 2 id",
             "--debug=true create id",
             "start --new id",
             "delete --all id",
             "start id --late",
             "checkpoint --leave-running id",
             "run id",
             "--version",
             "create -- id",
             "-- create id",
         }) {
        INFO(text);
        CHECK_FALSE(parse(text));
    }
    CHECK_FALSE(parse_command_line({}));
    CHECK(parse("create --preserve-fds 0 id"));
}

TEST_CASE("restore gets the place, the sockets and the plan's options of its create") {
    auto line = parse(
        "--root /r --log /l create --bundle /b --pid-file /p --console-socket /s --no-new-keyring --no-pivot "
        "id");
    REQUIRE(line);
    Plan plan{.images = "/images", .options = {"--tcp-established", "--file-locks"}, .criu_config = {}};
    CHECK(cprewind::base::join(restore_words(*line, plan, "/work"), " ") ==
          "--root /r --log /l restore --detach --image-path /images --work-path /work --bundle /b --pid-file "
          "/p "
          "--console-socket /s --no-pivot --tcp-established --file-locks id");
    CHECK(cprewind::base::join(delete_words(*line), " ") == "--root /r --log /l delete --force id");
}

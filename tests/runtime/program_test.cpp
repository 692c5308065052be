// cprewind-runtime as containerd meets it, around a runc that only writes down how it was called.
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "base/fd.h"
#include "base/process.h"
#include "base/text.h"
#include "runtime/plan.h"
#include "runtime/restore.h"

using namespace cprewind::runtime;
namespace base = cprewind::base;
namespace fs = std::filesystem;

namespace {

class Stage {
 public:
    Stage() {
        // Words apart by "|", calls by lines. `restore` ends as the file "exit" says, with a log as CRIU
        // leaves one.
        base::replace_file(root() / "runc", R"sh(#!/bin/sh
cd "$(dirname "$0")"
for word in "$@"; do printf '%s|' "$word" >> calls; done
echo >> calls
case " $* " in
*" restore "*)
    cat /proc/self/oom_score_adj > score
    work=$(printf '%s\n' "$@" | sed -n '/^--work-path$/{n;p;}')
    printf '(00.01) 1: Error (criu/files-reg.c:22): File data has bad size\n(00.02) Error (criu/x.c:1): Restoring FAILED.\n' > "$work/restore.log"
    exit $(cat exit) ;;
esac
exit 42
)sh",
                           0700);
        base::replace_file(root() / "exit", "0");
        base::make_private_directory(root() / "bundle");
        base::replace_file(root() / "bundle/config.json", "{}");
        ::setenv("CPREWIND_RUNC", (root() / "runc").c_str(), 1);
        ::setenv("CPREWIND_RUNTIME_STATE", state().c_str(), 1);
    }

    const fs::path& root() const { return directory_.path(); }
    fs::path state() const { return root() / "state"; }

    base::Output run(std::vector<std::string> words) const {
        words.insert(words.begin(), CPREWIND_RUNTIME_PROGRAM);
        return base::run(words);
    }
    base::Output create() const {
        return run({"--log", log().string(), "--log-format", "json", "create", "--bundle",
                    (root() / "bundle").string(), "--pid-file", "/p", "id"});
    }
    fs::path log() const { return root() / "log.json"; }

    // The calls since the last time, one a line.
    std::string calls() const {
        if (!fs::exists(root() / "calls")) return {};
        std::string text = base::read_file(root() / "calls");
        fs::remove(root() / "calls");
        return text;
    }
    void leave() const {
        leave_plan(state(), "id", {.images = "/images", .options = {"--file-locks"}, .criu_config = {}});
    }

 private:
    base::TemporaryDirectory directory_{"/tmp", "cprewind-program-"};
};

}  // namespace

TEST_CASE("without a plan every word and the exit status are runc's") {
    Stage stage;
    for (const std::vector<std::string>& words : std::vector<std::vector<std::string>>{
             {"--version"},
             {},
             {"create", "--bundle", "/b", "id"},
             {"--root", "/r", "start", "id"},
             {"--root", "/r", "delete", "--force", "id"},
             {"checkpoint", "--leave-running", "a b", "", "ü\n\x01"},
             {"hook-l", "hook-lo"},
         }) {
        CHECK(stage.run(words).status.code == 42);
        std::string expected;
        for (const std::string& word : words) expected += word + "|";
        CHECK(stage.calls() == expected + "\n");
    }
}

TEST_CASE("with a plan create restores, the next start is swallowed, and the one after is not") {
    Stage stage;
    stage.leave();
    CHECK(stage.create().status.success());
    CHECK(stage.calls() == "--log|" + stage.log().string() +
                               "|--log-format|json|restore|--detach|--image-path|/images|" + "--work-path|" +
                               taken_directory(stage.state(), "id").string() + "|--bundle|" +
                               (stage.root() / "bundle").string() + "|--pid-file|/p|--file-locks|id|\n");
    CHECK(outcome_of(stage.state(), "id") == Outcome::restored);
    auto config = nlohmann::json::parse(base::read_file(stage.root() / "bundle/config.json"));
    CHECK(config["hooks"]["createRuntime"][0]["path"] == CPREWIND_RUNTIME_PROGRAM);

    CHECK(stage.run({"start", "id"}).status.success());
    CHECK(stage.calls().empty());
    CHECK(stage.run({"start", "id"}).status.code == 42);
    CHECK(stage.calls() == "start|id|\n");
}

TEST_CASE("what is restored does not inherit the OOM score that protects the engine") {
    Stage stage;
    stage.leave();
    // Raising one's own is always allowed, and so is taking it back.
    auto output =
        base::run({"sh", "-c", "echo 3 > /proc/self/oom_score_adj && exec \"$0\" create --bundle \"$1\" id",
                   CPREWIND_RUNTIME_PROGRAM, (stage.root() / "bundle").string()});
    CHECK(output.status.success());
    CHECK(base::read_file(stage.root() / "score") == "0\n");
}

TEST_CASE("a restored container's delete forgets it, so that its next start is runc's") {
    Stage stage;
    stage.leave();
    REQUIRE(stage.create().status.success());
    SECTION("delete came by") {
        stage.run({"delete", "id"});
        CHECK(outcome_of(stage.state(), "id") == Outcome::none);
    }
    SECTION("delete did not come by") {}
    stage.calls();
    CHECK(stage.create().status.code == 42);
    CHECK(stage.run({"start", "id"}).status.code == 42);
    CHECK(stage.calls().ends_with("create|--bundle|" + (stage.root() / "bundle").string() +
                                  "|--pid-file|/p|id|\nstart|id|\n"));
}

TEST_CASE("a failed restore removes the half-made container, names the cause and starts nothing") {
    Stage stage;
    stage.leave();
    base::replace_file(stage.root() / "exit", "7");
    auto output = stage.create();
    CHECK(output.status.code == 7);
    auto calls = base::split(stage.calls(), '\n');
    REQUIRE(calls.size() == 3);
    CHECK(calls[0].find("|restore|") != std::string::npos);
    CHECK(calls[1].ends_with("|delete|--force|id|"));

    CHECK(outcome_of(stage.state(), "id") == Outcome::failed);
    CHECK(base::read_file(taken_directory(stage.state(), "id") / "result") == "outcome=failed\nexit=7\n");
    auto lines = base::split(base::read_file(stage.log()), '\n');
    auto last = nlohmann::json::parse(lines[lines.size() - 2]);
    CHECK(last["level"] == "error");
    CHECK(last["msg"].get<std::string>().find("File data has bad size") != std::string::npos);
    CHECK(output.err.find("File data has bad size") != std::string::npos);

    // containerd deletes what could not be created; the log must outlive that.
    stage.run({"delete", "--force", "id"});
    CHECK(fs::exists(taken_directory(stage.state(), "id") / "restore.log"));
    CHECK(outcome_of(stage.state(), "id") == Outcome::failed);
}

TEST_CASE("of a restore that was killed the mounted file system is let go before runc deletes its state") {
    REQUIRE(::geteuid() == 0);  // else nobody can mount
    Stage stage;
    fs::path own_state = stage.root() / "runc-state" / "id", mounted = own_state / "criu-root";
    fs::path precious = stage.root() / "precious";
    fs::create_directories(mounted);
    fs::create_directory(precious);
    base::replace_file(precious / "file", "");
    // Like runc, which removes the directory with all that is in it.
    base::replace_file(stage.root() / "runc", R"sh(#!/bin/sh
cd "$(dirname "$0")"
for word in "$@"; do printf '%s|' "$word" >> calls; done
echo >> calls
case " $* " in *" delete "*) rm -rf runc-state/id ;; esac
)sh",
                       0700);
    REQUIRE(::mount(precious.c_str(), mounted.c_str(), nullptr, MS_BIND, nullptr) == 0);
    std::string root = own_state.parent_path().string();
    SECTION("by containerd's delete") {
        stage.run({"--root", root, "delete", "--force", "id"});
        CHECK(stage.calls() == "--root|" + root + "|delete|--force|id|\n");
    }
    SECTION("before the next restore") {
        stage.leave();
        CHECK(stage.run({"--root", root, "create", "--bundle", (stage.root() / "bundle").string(), "id"})
                  .status.success());
        auto calls = base::split(stage.calls(), '\n');
        REQUIRE(calls.size() == 3);
        CHECK(calls[0] == "--root|" + root + "|delete|--force|id|");
        CHECK(calls[1].find("|restore|") != std::string::npos);
    }
    ::umount2(mounted.c_str(), MNT_DETACH);
    CHECK(fs::exists(precious / "file"));
    CHECK_FALSE(fs::exists(own_state));
}

TEST_CASE("where CRIU left no log the cause is what runc said") {
    Stage stage;
    stage.leave();
    base::replace_file(stage.root() / "runc", "#!/bin/sh\nexit 1\n", 0700);
    base::replace_file(stage.log(),
                       "{\"level\":\"error\",\"msg\":\"no such directory\"}\n"
                       "{\"level\":\"info\",\"msg\":\"bye\"}\nno json\n");
    CHECK(stage.create().err.find("/images: no such directory") != std::string::npos);
}

TEST_CASE(
    "a bundle that cannot be read or a runc that is not there fails the rewind instead of starting afresh") {
    Stage stage;
    stage.leave();
    SECTION("bundle") {
        base::replace_file(stage.root() / "bundle/config.json", "nothing");
    }
    SECTION("runc") {
        fs::remove(stage.root() / "runc");
    }
    CHECK_FALSE(stage.create().status.success());
    CHECK(outcome_of(stage.state(), "id") == Outcome::failed);
    CHECK(stage.calls().find("create") == std::string::npos);
}

TEST_CASE("a plan that cannot be trusted is left alone and runc creates") {
    Stage stage;
    stage.leave();
    REQUIRE(::chmod(stage.state().c_str(), 0777) == 0);
    CHECK(stage.create().status.code == 42);
    CHECK(stage.calls().find("|create|") != std::string::npos);
    CHECK(fs::exists(stage.state() / "pending/id/plan"));
}

TEST_CASE("a create that restore cannot do leaves the plan pending") {
    Stage stage;
    stage.leave();
    CHECK(stage.run({"create", "--pidfd-socket", "/s", "id"}).status.code == 42);
    CHECK(fs::exists(stage.state() / "pending/id/plan"));
}

TEST_CASE("the cause is the first error of CRIU's log, made fit for a terminal") {
    base::TemporaryDirectory directory("/tmp", "cprewind-log-");
    auto log = directory.path() / "restore.log";
    CHECK(cause_in_log(log).empty());
    base::replace_file(log,
                       "(00.1) Warn  (criu/a.c:1): hm\n"
                       "(00.1) Error (criu/util.c:9): rlimit: Can't setup RLIMIT_NOFILE for self: No\n"
                       "(00.2)  1: Error (criu/b.c:2): no \x1b[31mway\n"
                       "(00.3) Error (criu/c.c:3): Restoring FAILED.\n");
    CHECK(cause_in_log(log) == "no \\x1b[31mway");
    base::replace_file(log, "Error (cut");
    CHECK(cause_in_log(log).empty());
}

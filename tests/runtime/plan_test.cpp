// Whom the runtime trusts with a plan, and that a plan is obeyed once.
#include "runtime/plan.h"

#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch_test_macros.hpp>
#include <thread>

#include "base/fd.h"

using namespace cprewind::runtime;
namespace base = cprewind::base;
namespace fs = std::filesystem;

namespace {

constexpr const char* k_id = "0123abc";

struct State {
    base::TemporaryDirectory directory{"/tmp", "cprewind-state-"};
    fs::path path = directory.path() / "runtime";
    fs::path plan_file() const { return path / "pending" / k_id / "plan"; }

    void leave(const Plan& plan = {.images = "/images", .options = {}, .criu_config = {}}) const {
        leave_plan(path, k_id, plan);
    }
    // Left, then the text replaced.
    void leave_text(std::string_view text) const {
        leave();
        base::replace_file(plan_file(), text);
    }
};

}  // namespace

TEST_CASE("a plan comes back as it was left, once") {
    State state;
    Plan plan{.images = "/a b/ü",
              .options = {"--tcp-established", "--manage-cgroups-mode=ignore"},
              .criu_config = "/c",
              .addresses = {"172.17.0.2", "fd00::7"}};
    CHECK(outcome_of(state.path, k_id) == Outcome::none);
    state.leave(plan);
    CHECK(outcome_of(state.path, k_id) == Outcome::none);
    CHECK_FALSE(take_plan(state.path, "other"));
    auto taken = take_plan(state.path, k_id);
    REQUIRE(taken);
    CHECK(taken->images == plan.images);
    CHECK(taken->options == plan.options);
    CHECK(taken->criu_config == plan.criu_config);
    CHECK(taken->addresses == plan.addresses);
    CHECK(outcome_of(state.path, k_id) == Outcome::taken);
    CHECK_FALSE(take_plan(state.path, k_id));
}

TEST_CASE("whether the taker of a plan is alive can be seen") {
    State state;
    state.leave();
    CHECK_FALSE(is_at_work(state.path, k_id));
    {
        auto taken = take_plan(state.path, k_id);
        REQUIRE(taken);
        CHECK(is_at_work(state.path, k_id));
    }
    CHECK(outcome_of(state.path, k_id) == Outcome::taken);
    CHECK_FALSE(is_at_work(state.path, k_id));
}

TEST_CASE("a new plan replaces an earlier one and its outcome") {
    State state;
    state.leave();
    REQUIRE(take_plan(state.path, k_id));
    base::replace_file(taken_directory(state.path, k_id) / "result", "outcome=failed\nexit=1\n");
    CHECK(outcome_of(state.path, k_id) == Outcome::failed);
    state.leave({.images = "/two", .options = {}, .criu_config = {}});
    state.leave({.images = "/three", .options = {}, .criu_config = {}});
    CHECK(outcome_of(state.path, k_id) == Outcome::none);
    CHECK(take_plan(state.path, k_id)->images == "/three");
    drop_plan(state.path, k_id);
    CHECK(outcome_of(state.path, k_id) == Outcome::none);
}

TEST_CASE("of many takers exactly one gets the plan") {
    State state;
    for (int round = 0; round < 50; ++round) {
        state.leave();
        std::atomic<int> winners = 0;
        std::vector<std::thread> takers;
        for (int i = 0; i < 4; ++i) {
            takers.emplace_back([&] { winners += take_plan(state.path, k_id) ? 1 : 0; });
        }
        for (auto& taker : takers) taker.join();
        REQUIRE(winners == 1);
    }
}

TEST_CASE("a plan that others could have written does not exist") {
    State state;
    state.leave();
    SECTION("state directory writable by others") {
        REQUIRE(::chmod(state.path.c_str(), 0777) == 0);
    }
    SECTION("pending writable by the group") {
        REQUIRE(::chmod((state.path / "pending").c_str(), 0770) == 0);
    }
    SECTION("its own directory writable by others") {
        REQUIRE(::chmod(state.plan_file().parent_path().c_str(), 0702) == 0);
    }
    SECTION("file writable by others") {
        REQUIRE(::chmod(state.plan_file().c_str(), 0666) == 0);
    }
    SECTION("file of another owner") {
        REQUIRE(::geteuid() == 0);  // else there is nobody to give it to
        REQUIRE(::chown(state.plan_file().c_str(), 12345, 0) == 0);
    }
    SECTION("state directory of another owner") {
        REQUIRE(::geteuid() == 0);  // else there is nobody to give it to
        REQUIRE(::chown(state.path.c_str(), 12345, 0) == 0);
    }
    SECTION("file is a symbolic link") {
        fs::rename(state.plan_file(), state.path / "elsewhere");
        fs::create_symlink(state.path / "elsewhere", state.plan_file());
    }
    SECTION("directory is a symbolic link") {
        fs::rename(state.plan_file().parent_path(), state.path / "elsewhere");
        fs::create_symlink(state.path / "elsewhere", state.plan_file().parent_path());
    }
    SECTION("file is a fifo") {
        fs::remove(state.plan_file());
        REQUIRE(::mkfifo(state.plan_file().c_str(), 0600) == 0);
    }
    std::string why_not;
    CHECK_FALSE(take_plan(state.path, k_id, &why_not));
    CHECK_FALSE(why_not.empty());
    CHECK(fs::exists(fs::symlink_status(state.plan_file())));
}

TEST_CASE("a plan that is not understood to its last line does not exist") {
    State state;
    std::string good = "version=1\nimages=/i\n";
    // Valid up to the byte where reading stops.
    std::string too_long = good + "option=--";
    too_long += std::string(64 * 1024 - too_long.size(), 'x') + "\noption=--more\n";
    state.leave_text(good);
    REQUIRE(take_plan(state.path, k_id));
    for (std::string text : {
             std::string(),
             std::string("version=1\n"),
             std::string("images=/i\n"),
             std::string("version=2\nimages=/i\n"),
             good + "unknown=1\n",
             good + "\n",
             good + "option=--x",
             good + "option=x\n",
             good + "option=--\n",
             good + "images=/j\n",
             std::string("version=1\nimages=relative\n"),
             good + "criu-config=relative\n",
             good + "address=here\n",
             good + "address=10.0.0.1/8\n",
             good + std::string("option=--x\0y\n", 13),
             too_long,
         }) {
        INFO(text.substr(0, 200));
        state.leave_text(text);
        std::string why_not;
        CHECK_FALSE(take_plan(state.path, k_id, &why_not));
        CHECK_FALSE(why_not.empty());
    }
}

TEST_CASE("an id that is no id finds nothing and leaves the directory alone") {
    State state;
    state.leave();
    for (const char* id : {"", ".", "..", "../pending/0123abc", "a/b", "--x", "a b"}) {
        CHECK_FALSE(take_plan(state.path, id));
        CHECK(outcome_of(state.path, id) == Outcome::none);
    }
    CHECK(take_plan(state.path, k_id));
}

TEST_CASE("what a killed CRIU left mounted is let go, not removed") {
    REQUIRE(::geteuid() == 0);  // else nobody can mount
    State state;
    state.leave();
    REQUIRE(take_plan(state.path, k_id));
    fs::path yard = taken_directory(state.path, k_id) / ".criu.cgyard.Ab12Cd";
    fs::path groups = state.directory.path() / "groups";
    fs::create_directory(yard);
    fs::create_directory(groups);
    base::replace_file(groups / "cgroup.procs", "");
    REQUIRE(::mount(groups.c_str(), yard.c_str(), nullptr, MS_BIND, nullptr) == 0);
    drop_plan(state.path, k_id);
    CHECK_FALSE(fs::exists(taken_directory(state.path, k_id)));
    CHECK(fs::exists(groups / "cgroup.procs"));
}

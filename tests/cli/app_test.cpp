#include "cli/app.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string_view>

#include "base/fd.h"
#include "cli/command.h"

using namespace cprewind;
namespace fs = std::filesystem;

namespace {

struct Ran {
    int status = 0;
    std::string out;
    std::string err;
};

// Runs the program in this process with standard output and error going to files.
Ran run(const std::vector<std::string>& arguments) {
    base::TemporaryDirectory directory(fs::temp_directory_path(), "app-test-");
    Ran ran;
    std::fflush(nullptr);
    base::Fd saved_out(::dup(STDOUT_FILENO));
    base::Fd saved_err(::dup(STDERR_FILENO));
    {
        base::Fd out = base::open_file(directory.path() / "out", O_RDWR | O_CREAT);
        base::Fd err = base::open_file(directory.path() / "err", O_RDWR | O_CREAT);
        ::dup2(out.get(), STDOUT_FILENO);
        ::dup2(err.get(), STDERR_FILENO);
    }
    ran.status = cli::run_app(arguments);
    std::fflush(nullptr);
    ::dup2(saved_out.get(), STDOUT_FILENO);
    ::dup2(saved_err.get(), STDERR_FILENO);
    ran.out = base::read_file(directory.path() / "out");
    ran.err = base::read_file(directory.path() / "err");
    return ran;
}

const std::string k_fixture = std::string(CPREWIND_SOURCE_DIR) + "/fixtures/counter";

}  // namespace

TEST_CASE("every command has a help that begins with examples and ends with the exit status") {
    for (const cli::Command& command : cli::commands()) {
        INFO(command.name);
        Ran ran = run({command.name, "--help"});
        CHECK(ran.status == 0);
        CHECK(ran.out.starts_with("Examples:\n"));
        CHECK(ran.out.find("\nUsage: cprewind " + std::string(command.name)) != std::string::npos);
        size_t last = ran.out.rfind("\n\n");
        CHECK(std::string_view(ran.out).substr(last).find("Exit status: 0") != std::string_view::npos);
    }
}

TEST_CASE("help lists every command") {
    Ran ran = run({"help"});
    CHECK(ran.status == 0);
    for (const cli::Command& command : cli::commands())
        CHECK(ran.out.find(command.summary) != std::string::npos);
}

TEST_CASE(
    "a word that is no command, view or option is met with the near one, and nothing on standard output") {
    for (const auto& [arguments, suggestion] : std::vector<std::pair<std::vector<std::string>, std::string>>{
             {{"insepct"}, "'inspect'"},
             {{"inspect", k_fixture, "fsd"}, "'fds'"},
             {{"inspect", k_fixture, "--finding"}, "'--findings'"},
             {{"diff", k_fixture, k_fixture, "mme"}, "'mem'"},
         }) {
        Ran ran = run(arguments);
        INFO(ran.err);
        CHECK(ran.status == 2);
        CHECK(ran.out.empty());
        CHECK(ran.err.find("did you mean " + suggestion) != std::string::npos);
    }
}

TEST_CASE("options of all commands may stand before or after the verb") {
    for (const auto& arguments : std::vector<std::vector<std::string>>{{"--json", "inspect", k_fixture},
                                                                       {"inspect", k_fixture, "--json"}}) {
        Ran ran = run(arguments);
        CHECK(nlohmann::json::parse(ran.out).at("subject") == k_fixture);
    }
}

TEST_CASE("a directory of images is inspected without a repository, and diff with itself finds nothing") {
    Ran ps = run({"inspect", k_fixture, "ps", "--json", "--repo", "/nonexistent"});
    CHECK(ps.status == 0);
    auto processes = nlohmann::json::parse(ps.out).at("processes");
    REQUIRE(processes.size() == 2);
    CHECK(processes[0].at("comm") == "sh");
    CHECK(processes[0].at("arguments")[0] == "/bin/sh");
    CHECK(processes[0].at("arguments_base64").is_null());

    Ran diff = run({"diff", k_fixture, k_fixture, "--json"});
    CHECK(diff.status == 0);
    CHECK(nlohmann::json::parse(diff.out).at("same") == true);
    CHECK(run({"diff", k_fixture, "./nowhere"}).status == 2);
}

TEST_CASE("an error is an object on standard error with --json, two lines without") {
    Ran json = run({"inspect", "/nonexistent/dir", "--json"});
    CHECK(json.status == 1);
    CHECK(json.out.empty());
    REQUIRE(json.err.starts_with("cprewind: {"));
    CHECK(nlohmann::json::parse(json.err.substr(10)).at("error").at("kind") == "not-found");

    Ran text = run({"log", "--repo", "/nonexistent/repository"});
    CHECK(text.status == 1);
    CHECK(std::count(text.err.begin(), text.err.end(), '\n') <= 2);
}

TEST_CASE("a core is written once, complete and for its owner only; stacks tell what is not at hand") {
    base::TemporaryDirectory directory(fs::temp_directory_path(), "app-test-");
    std::string file = directory.path() / "core";
    const std::string kitchen = std::string(CPREWIND_SOURCE_DIR) + "/fixtures/kitchen";
    Ran core = run({"core", kitchen, "--pid", "1", "-o", file, "--json"});
    INFO(core.err);
    CHECK(core.status == 0);
    auto answer = nlohmann::json::parse(core.out);
    CHECK(answer["file_size_bytes"] == fs::file_size(file));
    CHECK(answer["threads"] == 3);
    CHECK(answer["gaps"][0]["path"] == "/bin/kitchen");
    CHECK(fs::status(file).permissions() == (fs::perms::owner_read | fs::perms::owner_write));
    CHECK(std::distance(fs::directory_iterator(directory.path()), fs::directory_iterator()) == 1);
    CHECK(run({"core", kitchen, "--pid", "1", "-o", file}).err.find("exists already") != std::string::npos);
    CHECK(run({"core", kitchen, "--pid", "99", "-o", file + "2"}).err.find("its processes are: 1, ") !=
          std::string::npos);
    CHECK(run({"core", kitchen, "-o", file + "2"}).status == 2);
    CHECK(run({"core", kitchen, "--pid", "1"}).status == 2);
    CHECK(!fs::exists(file + "2"));

    Ran stacks = run({"inspect", kitchen, "threads", "--stacks", "--pid", "1", "--json"});
    CHECK(stacks.status == 0);
    size_t threads = 0;
    auto document = nlohmann::json::parse(stacks.out);
    for (const auto& stack : document["stacks"]) {
        threads += stack["threads"].size();
        CHECK(stack["end"].get<std::string>().find("/bin/kitchen is not at hand") != std::string::npos);
    }
    CHECK(threads == 3);
    CHECK(run({"inspect", kitchen, "ps", "--stacks"}).status == 2);
    CHECK(run({"inspect", kitchen, "threads", "--sysroot", "/"}).status == 2);
}

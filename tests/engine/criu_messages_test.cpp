#include "engine/criu_messages.h"

#include <catch2/catch_test_macros.hpp>
#include <filesystem>
#include <map>
#include <set>

#include "base/fd.h"
#include "base/text.h"
#include "engine/criu_log.h"

using namespace cprewind;
using namespace cprewind::engine;

namespace {

std::filesystem::path fixtures() {
    return std::filesystem::path(CPREWIND_FIXTURES) / "criu-logs";
}

// The first problem of a log that the real CRIU wrote (fixtures/make-logs).
std::string cause_in(const std::string& name) {
    CriuLog log = read_criu_log(base::read_file(fixtures() / name));
    CHECK(log.criu == "4.2.1");
    REQUIRE_FALSE(log.problems.empty());
    INFO(log.problems.front().line);
    REQUIRE(log.problems.front().known);
    return std::string(log.problems.front().known->text);
}

}  // namespace

TEST_CASE("the table has more than 40 messages, each complete and each different") {
    CHECK(criu_messages().size() > 100);
    std::set<std::string_view> seen;
    for (const CriuMessage& message : criu_messages()) {
        INFO(message.text);
        CHECK(seen.insert(message.text).second);
        for (std::string_view text : {message.cause, message.meaning, message.remedy}) {
            CHECK(text.size() >= 9);
            CHECK_FALSE(text.ends_with('.'));
        }
    }
}

TEST_CASE("every message of the table is met by its own line of lines.log, in order") {
    auto lines = base::split(base::read_file(fixtures() / "lines.log"), '\n');
    lines.pop_back();
    REQUIRE(lines.size() == criu_messages().size());
    for (size_t i = 0; i < lines.size(); ++i) {
        INFO(lines[i]);
        INFO(criu_messages()[i].text);
        CriuLog log = read_criu_log(lines[i] + "\n");
        REQUIRE(log.problems.size() == 1);
        CHECK(log.problems.front().known == &criu_messages()[i]);
    }
}

TEST_CASE("logs that the real CRIU wrote are explained by what was done to it") {
    const std::map<std::string, std::string> expected = {
        {"dump-tcp.log", "Connected TCP socket"},
        {"dump-in-flight.log", "In-flight connection"},
        {"dump-flock.log", "Some file locks are hold by dumping tasks"},
        {"dump-external-unix.log", "External socket is used"},
        {"dump-nested-mounts.log", "doesn't have a proper root mount"},
        {"dump-ghost.log", "Can't dump ghost file"},
        {"dump-deleted.log", "Use link-remap option"},
        {"dump-vsock.log", "Unknown socket collected (family 40)"},
        {"dump-mptcp.log", "Unsupported proto 262"},
        {"dump-io-uring.log", "anon_inode:[io_uring]"},
        {"dump-userfaultfd.log", "anon_inode:[userfaultfd]"},
        {"dump-perf.log", "anon_inode:[perf_event]"},
        {"dump-bpf.log", "anon_inode:bpf-"},
        {"dump-landlock.log", "anon_inode:[landlock-ruleset]"},
        {"dump-device.log", "(chr *)"},
        {"dump-cork.log", "Can't dump corked dgram socket"},
        {"dump-pidfd-outside.log", "is not a part of process tree"},
        {"dump-sysv.log", "doesn't live in IPC ns"},
        {"dump-user.log", "Can't get rlimit"},
        {"dump-secretmem.log", "/secretmem"},
        {"dump-packet-netlink.log", "The socket has data to read"},
        {"container-traced.log", "found while seizing"},
        {"container-ipc-host.log", "doesn't live in IPC ns"},
        {"container-nested-pids.log", "Can't dump nested pid namespace"},
        {"container-nested-user.log", "doesn't belong to the target user namespace"},
        {"container-bound-socket.log", "External socket is used"},
        {"container-fuse.log", "(chr 10:229)"},
        {"container-time.log", "Can't dump nested time namespace"},
        {"container-overmounted-file.log", "Use link-remap option"},
        {"restore-file-size.log", "has bad size"},
        {"restore-mapped-file-changed.log", "has bad size"},
        {"restore-file-gone.log", "Can't open file * on restore"},
        {"restore-file-mode.log", "has bad mode"},
        {"restore-directory-gone.log", "Can't open file * on restore"},
        {"restore-fifo-gone.log", "Can't open fake fifo"},
        {"restore-magic.log", "agic doesn't match for"},
        {"restore-truncated.log", "Read * bytes while * expected from"},
        {"restore-unpacking.log", "Failed unpacking object"},
        {"restore-no-image.log", "Unexpected EOF"},
        {"restore-no-inventory.log", "Unexpected EOF"},
        {"restore-pid-taken.log", "Can't fork for"},
        {"restore-port-taken.log", "Can't bind inet socket"},
        {"restore-tcp-in-image.log", "Connected TCP socket in image"},
    };
    std::set<std::string> found;
    for (const auto& entry : std::filesystem::directory_iterator(fixtures()))
        found.insert(entry.path().filename());
    found.erase("lines.log");
    std::set<std::string> named;
    for (const auto& [name, text] : expected) {
        INFO(name);
        CHECK(cause_in(name) == text);
        named.insert(name);
    }
    CHECK(found == named);
}

TEST_CASE("what runc and Docker print of a log is understood, too") {
    CriuLog log = read_criu_log(
        "time=\"2026-11-25T23:28:46Z\" level=warning msg=\"161:(00.299027) Error (criu/sk-unix.c:874): unix: "
        "External socket is "
        "used. Consider using --ext-unix-sk option.\"\n"
        "time=\"2026-11-25T23:28:46Z\" level=error msg=\"criu failed: type NOTIFY errno 0\"\n");
    REQUIRE(log.problems.size() == 1);
    CHECK(log.problems[0].message == "unix: External socket is used. Consider using --ext-unix-sk option.");
    log = read_criu_log(
        "Error response from daemon: bind-mount /proc/0/ns/net -> /var/run/docker/netns/1: no such file or "
        "directory\n");
    REQUIRE(log.problems.size() == 1);
    CHECK(log.problems[0].known->text == "/proc/0/ns/net");
    CHECK(log.phase == CriuPhase::restore);
    CHECK(read_criu_log("some text\nof no kind\n").problems.empty());
}

TEST_CASE("a log that repeats itself is told once, and one that never ends keeps its size") {
    std::string text;
    for (int i = 0; i < 5000; ++i)
        text += "(00.1) Error (criu/seize.c:335): zombie " + std::to_string(i) +
                " (comm x) found while seizing\n";
    CriuLog log = read_criu_log(text);
    REQUIRE(log.problems.size() == 1);
    CHECK(log.problems[0].times == 5000);
    for (int i = 0; i < 5000; ++i)
        text += "(00.1) Error (criu/x.c:1): never heard of " + std::to_string(i) + "\n";
    CHECK(read_criu_log(text).problems.size() == 200);
}

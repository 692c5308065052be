#include "engine/criu_log.h"

#include <catch2/catch_test_macros.hpp>

using namespace cprewind::engine;

// Lines as CRIU 4.2.1 wrote them.
TEST_CASE("a file of another size is told in plain words") {
    auto cause = explain_criu_log(
        "(00.000001) Version: 4.2.1\n"
        "(00.012309) Error (criu/util.c:1534): rlimit: Can't setup RLIMIT_NOFILE for self: Operation not "
        "permitted\n"
        "(00.052309)      1: Error (criu/files-reg.c:2175): File data.txt has bad size 26 (expect 12)\n"
        "(00.060001) Error (criu/cr-restore.c:2536): Restoring FAILED.\n");
    REQUIRE(cause);
    CHECK(cause->cause ==
          "a file that a process has open is not as long as it was at the dump (File data.txt has bad size "
          "26 (expect 12))");
    CHECK(cause->line == "1: Error (criu/files-reg.c:2175): File data.txt has bad size 26 (expect 12)");
}

TEST_CASE("an unknown error is told in CRIU's own words, not in those of its consequences") {
    auto cause = explain_criu_log(
        "(00.01) Error (criu/a.c:1): Something nobody has seen\n"
        "(00.02) Error (criu/cr-dump.c:2128): Dumping FAILED.\n");
    REQUIRE(cause);
    CHECK(cause->cause == "Something nobody has seen");
    CHECK(cause->remedy.empty());
}

TEST_CASE("a log with consequences alone still says something, one without errors nothing") {
    CHECK(explain_criu_log("(00.02) Error (criu/cr-dump.c:2128): Dumping FAILED.\n"));
    CHECK_FALSE(explain_criu_log("(00.02) all went well\n"));
    CHECK_FALSE(explain_criu_log(""));
}

TEST_CASE("what a log says never reaches a terminal unescaped") {
    auto cause = explain_criu_log("(00.01) Error (criu/a.c:1): name \x1b[2J\n");
    REQUIRE(cause);
    CHECK(cause->cause == "name \\x1b[2J");
}

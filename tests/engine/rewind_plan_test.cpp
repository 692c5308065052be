#include "engine/rewind_plan.h"

#include <catch2/catch_test_macros.hpp>

#include "engine/check_running.h"

using namespace cprewind::engine;

TEST_CASE("the kernel's table of TCP sockets is read: connections, not listeners") {
    auto lines = parse_tcp(
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
        "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 11 1 0\n"
        "   1: 020011AC:1F90 010011AC:C350 01 00000000:00000000 00:00000000 00000000     0        0 12 1 0\n"
        "   2: 020011AC:1F90 010011AC:C351 06 00000000:00000000 00:00000000 00000000     0        0 0 1 0\n"
        "garbage\n");
    REQUIRE(lines.size() == 1);
    CHECK(lines[0].local == "172.17.0.2:8080");
    CHECK(lines[0].remote == "172.17.0.1:50000");
    CHECK(lines[0].inode == 12);
    CHECK(lines[0].state == 1);
}

TEST_CASE("the table of IPv6 likewise") {
    auto lines = parse_tcp(
        "   0: 00000000000000000000000001000000:1F90 0000000000000000FFFF00000100007F:C350 01 "
        "00000000:00000000 "
        "00:00000000 00000000     0        0 12 1 0\n");
    REQUIRE(lines.size() == 1);
    CHECK(lines[0].local == "[::1]:8080");
    CHECK(lines[0].remote == "[::ffff:127.0.0.1]:50000");
}

TEST_CASE("the mappings of a live process are read") {
    auto maps = parse_maps(
        "55e0d0000000-55e0d0001000 r--p 00000000 08:01 42                         /usr/bin/x y\n"
        "7f0000000000-7f0000001000 rw-p 00000000 00:00 0 \n"
        "7ffd00000000-7ffd00001000 rw-p 00000000 00:00 0                          [stack]\n"
        "nonsense\n-\n \n");
    REQUIRE(maps.size() == 3);
    CHECK(maps[0].start == 0x55e0d0000000);
    CHECK(maps[0].end == 0x55e0d0001000);
    CHECK_FALSE(maps[0].writable);
    CHECK(maps[0].path == "/usr/bin/x y");
    CHECK(maps[1].writable);
    CHECK(maps[2].path.empty());
}

#include "cli/output.h"

#include <catch2/catch_test_macros.hpp>

using namespace cprewind::cli;

TEST_CASE("the width of text on a terminal counts characters, not bytes or colours") {
    CHECK(display_width("abc") == 3);
    CHECK(display_width("äöü µs") == 6);
    CHECK(display_width("\x1b[1mbold\x1b[0m") == 4);
    CHECK(display_width("") == 0);
}

#include "cli/timeline_graph.h"

#include <catch2/catch_test_macros.hpp>

using namespace cprewind::cli;

namespace {

std::string draw(const std::vector<TimelineNode>& nodes) {
    std::string out;
    for (const std::string& line : draw_timeline(nodes)) out += line + "\n";
    return out;
}

}  // namespace

TEST_CASE("a line is a line, newest first") {
    CHECK(draw({{"1", "", "one"}, {"2", "1", "two"}}) == "* two\n* one\n");
}

TEST_CASE("a branch joins where it began") {
    CHECK(draw({{"1", "", "one"}, {"2", "1", "two"}, {"3", "1", "three"}, {"4", "3", "four"}}) ==
          "* four\n* three\n| * two\n|/\n* one\n");
}

TEST_CASE("three branches from one moment") {
    CHECK(draw({{"1", "", "1"}, {"2", "1", "2"}, {"3", "1", "3"}, {"4", "1", "4"}}) ==
          "* 4\n| * 3\n| | * 2\n| |/\n|/\n* 1\n");
}

TEST_CASE("a removed parent ends the line, and another timeline begins in its column") {
    CHECK(draw({{"a", "", "a"}, {"b", "gone", "b"}}) == "* b\n* a\n");
}

#include "cli/json_text.h"

#include <catch2/catch_test_macros.hpp>

using namespace cprewind::cli;

TEST_CASE("text stays text, other bytes come with base64, and both fields are always there") {
    Json object;
    put_bytes(object, "name", "plain");
    CHECK(object.dump() == R"({"name":"plain","name_base64":null})");
    put_bytes(object, "name", "\xff\x41");
    CHECK(object.at("name") == "\\xffA");
    CHECK(object.at("name_base64") == "/0E=");
}

TEST_CASE("one item that is no text brings base64 for the whole list") {
    Json object;
    put_bytes(object, "words", std::vector<std::string>{"a", "b"});
    CHECK(object.at("words_base64").is_null());
    put_bytes(object, "words", std::vector<std::string>{"a", "\xff"});
    CHECK(object.at("words_base64") == Json({"YQ==", "/w=="}));
}

TEST_CASE("a finding says kind, file, place and message") {
    cprewind::images::Finding finding;
    finding.file = "mm-1.img";
    finding.message = "odd";
    Json list = findings_json({finding});
    CHECK(list[0].at("kind") == "damaged");
    CHECK(list[0].at("offset").is_null());
    CHECK(hex_number(0x7ffd1000) == "0x7ffd1000");
}

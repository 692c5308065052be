#include "base/bytes.h"

#include <catch2/catch_test_macros.hpp>

#include "base/fd.h"

using namespace cprewind::base;

TEST_CASE("a cursor reads what was appended and ends there") {
    std::string bytes;
    append_integer<uint32_t>(bytes, 0x01020304);
    append_text(bytes, "hello");
    append_integer<uint64_t>(bytes, 7);
    CHECK(bytes[0] == 4);

    Cursor cursor(as_bytes(bytes));
    CHECK(cursor.integer<uint32_t>() == 0x01020304u);
    CHECK(cursor.text() == "hello");
    CHECK(cursor.integer<uint64_t>() == 7u);
    CHECK(cursor.at_end());
}

TEST_CASE("a read past the end yields nothing and moves nothing") {
    std::string bytes = "abc";
    Cursor cursor(as_bytes(bytes));
    CHECK_FALSE(cursor.integer<uint32_t>());
    CHECK_FALSE(cursor.bytes(4));
    CHECK_FALSE(cursor.bytes(~uint64_t{0}));
    CHECK(cursor.offset() == 0);
    CHECK(cursor.bytes(3));
}

TEST_CASE("a text whose length lies leaves the cursor before the length") {
    std::string bytes;
    append_integer<uint32_t>(bytes, 1000);
    bytes += "short";
    Cursor cursor(as_bytes(bytes));
    CHECK_FALSE(cursor.text());
    CHECK(cursor.offset() == 0);
}

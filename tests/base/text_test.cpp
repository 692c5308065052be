#include "base/text.h"

#include <catch2/catch_test_macros.hpp>
#include <cstdlib>

using namespace cprewind::base;
using namespace std::chrono_literals;

TEST_CASE("nothing from the evidence steers a terminal") {
    CHECK(escape("plain äöü 漢 😀") == "plain äöü 漢 😀");
    CHECK(escape("\x1b[31mred\a\r\n\t") == "\\x1b[31mred\\x07\\r\\n\\t");
    CHECK(escape("a\\b") == "a\\\\b");
    CHECK(escape("\xff\xc0\x80") == "\\xff\\xc0\\x80");
    CHECK(escape("\xc2\x9b") == "\\u009b");  // C1 control: an escape sequence in one character
    CHECK(escape("a\u202e"
                 "b") == "a\\u202eb");  // right-to-left override
    CHECK(escape(std::string_view("\0", 1)) == "\\x00");
    CHECK(escape("\xed\xa0\x80") == "\\xed\\xa0\\x80");  // a surrogate is no character
}

TEST_CASE("UTF-8 is told from other bytes") {
    CHECK(is_utf8("äöü"));
    CHECK_FALSE(is_utf8("\xe4"));
    CHECK_FALSE(is_utf8("\xf8\x88\x80\x80\x80"));
    CHECK_FALSE(is_utf8("\xc3"));
}

TEST_CASE("hex and base64 are those of RFC 4648") {
    CHECK(to_base64("") == "");
    CHECK(to_base64("f") == "Zg==");
    CHECK(to_base64("fo") == "Zm8=");
    CHECK(to_base64("foobar") == "Zm9vYmFy");
    CHECK(to_base64("\xff") == "/w==");
    CHECK(to_hex(*parse_hex("00ff10")) == "00ff10");
    CHECK_FALSE(parse_hex("0"));
    CHECK_FALSE(parse_hex("+1"));
}

TEST_CASE("sizes have at most three digits and the right unit") {
    CHECK(human_bytes(0) == "0 B");
    CHECK(human_bytes(1023) == "1023 B");
    CHECK(human_bytes(1024) == "1.0 KiB");
    CHECK(human_bytes(10 * 1024) == "10 KiB");
    CHECK(human_bytes(1024 * 1024 - 1) == "1.0 MiB");
    CHECK(human_bytes(519ull << 20) == "519 MiB");
    CHECK(human_bytes(~uint64_t{0}) == "16 EiB");
}

TEST_CASE("durations are told in the unit that fits") {
    CHECK(human_duration(850us) == "850 µs");
    CHECK(human_duration(12ms) == "12 ms");
    CHECK(human_duration(1800ms) == "1.8 s");
    CHECK(human_duration(200s) == "3 min 20 s");
    CHECK(human_duration(5h + 3min) == "5 h 3 min");
    CHECK(human_duration(52h) == "2 d 4 h");
}

TEST_CASE("times are read in every form that we document, and back from our own output") {
    ::setenv("TZ", "UTC", 1);
    ::tzset();
    WallTime now = *parse_time("2026-11-24 19:42:07", {});
    CHECK(rfc3339(now) == "2026-11-24T19:42:07.000000000Z");
    CHECK(local_time(now) == "2026-11-24 19:42:07");
    CHECK(parse_time("2026-11-24T19:42:07Z", {}) == now);
    CHECK(parse_time("2026-11-24 19:42", now) == now - 7s);
    CHECK(parse_time("19:42", now) == now - 7s);
    CHECK(parse_time("10m ago", now) == now - 10min);
    CHECK(parse_time("2 hours ago", now) == now - 2h);
    CHECK(parse_time("yesterday", now) == now - 24h);
    CHECK(parse_time(rfc3339(now + 123456789ns), {}) == now + 123456789ns);
    for (const char* bad :
         {"", "soon", "ago", "x ago", "99999999999999999999 s ago", "2026-13-40", "19:42 or so"}) {
        INFO(bad);
        CHECK_FALSE(parse_time(bad, now));
    }
}

TEST_CASE("what a person may have meant is suggested, best first") {
    CHECK(did_you_mean("insepct", {"snap", "inspect", "log"}) == "did you mean 'inspect'?");
    CHECK(did_you_mean("we", {"web", "db"}) == "did you mean 'web'?");
    CHECK(did_you_mean("xyzzy", {"web", "db"}).empty());
    CHECK(near_names("web1", {"web2", "web3", "web4", "web5"}).size() == 3);
    CHECK(did_you_mean(std::string(100000, 'x'), {"web"}).empty());
}

TEST_CASE("numbers are all digits or nothing") {
    CHECK(parse_number("42") == 42u);
    for (const char* bad : {"", "-1", "+1", " 1", "1 ", "0x1", "18446744073709551616"})
        CHECK_FALSE(parse_number(bad));
}

TEST_CASE("addresses are hexadecimal, whole and not too long") {
    CHECK(parse_address("0x7f00ff") == 0x7f00ff);
    CHECK(parse_address("7F00ff") == 0x7f00ff);
    CHECK(parse_address("ffffffffffffffff") == UINT64_MAX);
    for (const char* text : {"", "0x", "x1", "-1", "0x1g", "10000000000000000", " 1"})
        CHECK_FALSE(parse_address(text));
}

#include "base/digest.h"

#include <catch2/catch_test_macros.hpp>

#include "base/fd.h"

using namespace cprewind::base;

TEST_CASE("digests are those of FIPS 180-4") {
    CHECK(digest_of(as_bytes("abc")).hex() ==
          "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    CHECK(digest_of({}).hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

TEST_CASE("a hasher may be used again after finish") {
    Hasher hasher;
    for (int i = 0; i < 2; ++i) {
        hasher.update(as_bytes("a"));
        hasher.update(as_bytes("bc"));
        CHECK(hasher.finish() == digest_of(as_bytes("abc")));
    }
}

TEST_CASE("hex of a digest reads back, and nothing else does") {
    Digest digest = digest_of(as_bytes("x"));
    CHECK(Digest::from_hex(digest.hex()) == digest);
    CHECK_FALSE(Digest::from_hex("12"));
    CHECK_FALSE(Digest::from_hex(std::string(64, 'g')));
}

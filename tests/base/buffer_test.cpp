#include "base/buffer.h"

#include <sys/resource.h>

#include <algorithm>
#include <vector>

#include <catch2/catch_test_macros.hpp>

using namespace cprewind::base;

TEST_CASE("a buffer's pages are there before they are touched") {
    constexpr size_t k_size = 8 << 20, k_page = 4096;
    Buffer buffer(k_size);
    REQUIRE(buffer.size() == k_size);
    auto faults = [] {
        rusage usage{};
        ::getrusage(RUSAGE_SELF, &usage);
        return usage.ru_minflt;
    };
    auto before = faults();
    for (std::byte& byte : buffer.bytes()) byte = std::byte{1};
    CHECK(faults() - before < static_cast<long>(k_size / k_page / 4));
}

TEST_CASE("populating changes nothing") {
    std::vector<std::byte> bytes(100'000, std::byte{7});
    populate(std::span(bytes).subspan(5, 70'000));
    populate({});
    CHECK(std::all_of(bytes.begin(), bytes.end(), [](std::byte byte) { return byte == std::byte{7}; }));
    auto zeros = populated_vector<int>(30'000);
    CHECK(zeros.size() == 30'000);
    CHECK(std::all_of(zeros.begin(), zeros.end(), [](int value) { return value == 0; }));
}

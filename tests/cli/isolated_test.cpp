#include "cli/isolated.h"

#include <signal.h>

#include <catch2/catch_test_macros.hpp>
#include <memory>
#include <stdexcept>
#include <vector>

using cprewind::cli::run_isolated;

TEST_CASE("an isolated answer comes back whole, and what goes wrong there stays there") {
    std::string large(3u << 20, 'x');
    auto good = run_isolated([&] { return large; }, 10, uint64_t{8} << 30);
    CHECK(good.status.success());
    CHECK(good.answer == large);

    auto thrown =
        run_isolated([]() -> std::string { throw std::runtime_error("no"); }, 10, uint64_t{8} << 30);
    CHECK(thrown.status.exited);
    CHECK(thrown.status.code == 1);

    auto crashed = run_isolated(
        []() -> std::string {
            ::raise(SIGSEGV);
            return "not reached";
        },
        10, uint64_t{8} << 30);
    CHECK_FALSE(crashed.status.exited);
    CHECK(crashed.status.signal == SIGSEGV);

    auto endless = run_isolated(
        []() -> std::string {
            for (volatile bool forever = true; forever;) {
            }
            return {};
        },
        1, uint64_t{8} << 30);
    CHECK_FALSE(endless.status.success());

    auto greedy = run_isolated(
        [] { return std::string(std::vector<char>(size_t{64} << 30).size() > 0 ? "got it" : ""); }, 10,
        uint64_t{8} << 30);
    CHECK_FALSE(greedy.status.success());
}

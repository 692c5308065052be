// cprewind's entry: everything is in cli/app.cpp, so that tests can call it.
#include <sys/mman.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "cli/app.h"

namespace {

void* above;

// A short command's time is page faults (docs/decisions/0050-start-of-a-command.md), a quarter of them for its first pages
// of heap: these are asked for at once, before the constructors of protobuf's descriptors take some. malloc keeps what is
// freed here because the block above it stays. Where the kernel cannot (before Linux 5.14), nothing is lost.
[[gnu::constructor(101)]] void touch_the_heap() {
    constexpr size_t k_block = 96 << 10;  // below malloc's threshold for a mapping of its own
    constexpr uintptr_t k_page = 4096;
    std::array<void*, 8> blocks{};
    for (auto& block : blocks) block = std::malloc(k_block);
    above = std::malloc(1);
    auto first = reinterpret_cast<uintptr_t>(blocks.front()) & ~(k_page - 1);
    auto last = reinterpret_cast<uintptr_t>(above) & ~(k_page - 1);
    // Not where another malloc has put them elsewhere.
    if (first < last && last - first < 2 * blocks.size() * k_block) {
        madvise(reinterpret_cast<void*>(first), last - first, MADV_POPULATE_WRITE);
    }
    for (auto* block : blocks) std::free(block);
}

}  // namespace

int main(int argc, char** argv) {
    return cprewind::cli::run_app({argv + 1, argv + argc});
}

// cprewind's entry: everything is in cli/app.cpp, so that tests can call it.
#include <array>
#include <cstddef>
#include <cstdlib>

#include "base/buffer.h"
#include "cli/app.h"

namespace {

void* volatile above;  // so that nobody leaves it out

// A short command's time is page faults (docs/decisions/0050-start-of-a-command.md), a third of them for its first pages
// of heap: these are asked for at once, before the constructors of protobuf's descriptors take some. malloc keeps what is
// freed here because the block above it stays.
[[gnu::constructor(101)]] void touch_the_heap() {
    constexpr size_t k_block = 96 << 10;  // below malloc's threshold for a mapping of its own
    std::array<void*, 8> blocks{};
    for (auto& block : blocks) block = std::malloc(k_block);
    above = std::malloc(1);
    for (auto* block : blocks) cprewind::base::populate({static_cast<std::byte*>(block), k_block});
    for (auto* block : blocks) std::free(block);
}

}  // namespace

int main(int argc, char** argv) {
    return cprewind::cli::run_app({argv + 1, argv + argc});
}

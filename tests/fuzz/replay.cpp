// Runs a fuzz target over files and whole directories, where there is no fuzzer: what was found once stays found.
#include <filesystem>

#include "base/fd.h"
#include "tests/fuzz/fuzz.h"

int main(int count, char** arguments) {
    namespace fs = std::filesystem;
    size_t runs = 0;
    auto run = [&](const fs::path& path) {
        std::string bytes = cprewind::base::read_file(path, 64u << 20);
        LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
        ++runs;
    };
    for (int i = 1; i < count; ++i) {
        if (!fs::is_directory(arguments[i])) {
            run(arguments[i]);
            continue;
        }
        for (const auto& entry : fs::recursive_directory_iterator(arguments[i])) {
            if (entry.is_regular_file()) run(entry.path());
        }
    }
    std::printf("%zu inputs\n", runs);
    return runs > 0 ? 0 : 1;
}

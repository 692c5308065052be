// What this host can do, why not, and what to do about it.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace cprewind::engine {

enum class Verdict { good, limited, bad };
const char* name_of(Verdict verdict);

struct Check {
    std::string what;  // "CRIU"
    Verdict verdict = Verdict::good;
    std::string found;   // "4.2.1"
    std::string why;     // why it matters
    std::string remedy;  // what to do; empty when good
};

// Looks at kernel, CRIU, Docker, runtime, storage, control groups, memory and the repository. Changes
// nothing; never throws for what it finds: that is its answer.
std::vector<Check> examine_host(const std::filesystem::path& repository);

}  // namespace cprewind::engine

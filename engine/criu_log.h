// CRIU's dump and restore logs in plain words.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace cprewind::engine {

struct CriuCause {
    std::string cause;   // one sentence, no final stop
    std::string remedy;  // what to do, may be empty
    std::string line;    // the log's own line that says so
};

// The first error of the log that tells something, explained when it is one of those we know, else in CRIU's
// words. Nothing when the log holds no error.
std::optional<CriuCause> explain_criu_log(std::string_view log);

// The lines of the log that begin an error, at most `most`, without CRIU's time stamps.
std::vector<std::string> error_lines(std::string_view log, size_t most);

}  // namespace cprewind::engine

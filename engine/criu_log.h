// CRIU's dump and restore logs in plain words: what failed, why, what to do (the table: criu_messages.h).
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/criu_messages.h"

namespace cprewind::engine {

struct CriuProblem {
    const CriuMessage* known = nullptr;  // null: not in our table
    std::string message;                 // CRIU's words, as found: not escaped
    std::string line;                    // the same with source line and pid, without time stamp
    uint64_t line_number = 0;            // from 1
    uint64_t times = 1;                  // that the same message was met
};

enum class CriuOutcome { succeeded, failed, unknown };
const char* name_of(CriuPhase phase);
const char* name_of(CriuOutcome outcome);

struct CriuLog {
    CriuPhase phase = CriuPhase::either;  // either: the log does not tell
    CriuOutcome outcome = CriuOutcome::unknown;
    std::string criu;                   // "4.2.1", or empty
    std::vector<CriuProblem> problems;  // as they came; the first one is usually the reason of those after it
    uint64_t consequences = 0;          // further errors that only say that something else failed
    uint64_t lines = 0;
};

// Reads a log of CRIU, whole or in part, also inside of what runc or Docker printed. Text without any line of CRIU's is
// searched for what runc and Docker themselves say.
CriuLog read_criu_log(std::string_view log);

struct CriuCause {
    std::string cause;   // one sentence, no final stop
    std::string remedy;  // what to do, may be empty
    std::string line;    // the log's own line that says so
};

// The first error of the log that tells something, explained when it is one of those we know, else in CRIU's
// words. Nothing when the log holds no error.
std::optional<CriuCause> explain_criu_log(std::string_view log);

// Where the log of the last dump or restore of ours that failed on this host is kept, for `cprewind explain`.
std::filesystem::path failed_log_path();
// Keeps `log` there. Never throws: the failure that is being reported matters more.
void keep_failed_log(std::string_view log) noexcept;

}  // namespace cprewind::engine

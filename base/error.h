// What is thrown when something we were asked for cannot be done.
//
// Three channels exist, and they never mix: an Error (here) means *we could not do it* and is caught once,
// in cli/main.cpp, which owns its text and the exit status; a Finding (images/finding.h) means *the evidence
// is odd* and is a value, never thrown; a failed CPREWIND_CHECK means *we are wrong* and aborts.
#pragma once

#include <fmt/format.h>

#include <exception>
#include <string>
#include <string_view>

namespace cprewind::base {

// Why it failed, for callers that react and for `--json`. The order is not stored anywhere.
enum class ErrorKind {
    usage,        // the command line makes no sense: exit 2
    not_found,    // container, snapshot, view or file that does not exist
    ambiguous,    // a name that means more than one thing
    unavailable,  // Docker is down, CRIU is missing
    permission,   // not root, not ours
    unsupported,  // too old, too new, or cannot be dumped
    busy,         // somebody else holds the lock
    damaged,      // the repository is not what was written
    io,           // the operating system refused: full disk, I/O error
    failed,       // all the rest
};

std::string_view name_of(ErrorKind kind);

// `message` names the thing, what was found and what was expected; `hint` is the next step, or empty.
// `detail` is long material (a log) that is shown only with --verbose.
class Error : public std::exception {
 public:
    Error(ErrorKind kind, std::string message, std::string hint = {}, std::string detail = {})
        : kind_(kind), message_(std::move(message)), hint_(std::move(hint)), detail_(std::move(detail)) {}

    ErrorKind kind() const { return kind_; }
    const std::string& message() const { return message_; }
    const std::string& hint() const { return hint_; }
    const std::string& detail() const { return detail_; }
    const char* what() const noexcept override { return message_.c_str(); }

 private:
    ErrorKind kind_;
    std::string message_;
    std::string hint_;
    std::string detail_;
};

// Throws an Error made from `error_number`: "cannot WHAT: No space left on device", with the kind and the
// hint that belong to that number. Capture errno before anything else can change it.
[[noreturn]] void throw_errno(int error_number, std::string_view what);

[[noreturn]] void check_failed(const char* expression, const char* file, int line);

}  // namespace cprewind::base

// A fact of our own logic; always on. Never used on evidence or on input.
#define CPREWIND_CHECK(expression)           \
    (static_cast<bool>(expression) ? void(0) \
                                   : ::cprewind::base::check_failed(#expression, __FILE__, __LINE__))

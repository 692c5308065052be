// The command line of an OCI runtime, read just far enough to know what to do with it, and the `restore`
// command line made from a `create`.
//
// The rule: a command line that is not understood to its last word is not understood at all, and runc gets it
// unchanged. Options are those of runc 1.1 to 1.3; like runc (Go's flag syntax) one or two dashes and "=" or
// a separate word are the same.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "runtime/plan.h"

namespace cprewind::runtime {

struct CommandLine {
    std::vector<std::string> global_options;  // as given, each word
    std::string verb;
    std::string container_id;

    std::string root = "/run/runc";  // global --root
    std::string log;                 // global --log, or empty
    std::string log_format;          // global --log-format, or empty
    // `create` only; empty when not given.
    std::string bundle;
    std::string pid_file;
    std::string console_socket;
    bool no_pivot = false;
};

// Reads the words after argv[0]. Nothing for a verb other than create, start and delete, for an option we do
// not know, and for a `create` that `restore` cannot do.
std::optional<CommandLine> parse_command_line(std::span<const std::string> words);

// The words after argv[0] of `runc restore` that does what `create` was to do.
std::vector<std::string> restore_words(const CommandLine& create, const Plan& plan,
                                       const std::string& work_path);

// The words of `runc delete --force` for the same container.
std::vector<std::string> delete_words(const CommandLine& create);

}  // namespace cprewind::runtime

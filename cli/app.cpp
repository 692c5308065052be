#include "cli/app.h"

#include <fmt/format.h>
#include <signal.h>

#include <cstdlib>
#include <exception>
#include <optional>

#include "base/error.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/json_text.h"

namespace cprewind::cli {
namespace {

using base::Error;
using base::ErrorKind;

constexpr const char* k_default_repository = "/var/lib/cprewind";

// The command line before a command has seen it.
struct Line {
    std::string verb;
    std::vector<std::string> rest;
    std::string repository;
    bool json = false;
    bool verbose = false;
    bool help = false;
    bool version = false;
};

std::string default_repository() {
    const char* set = std::getenv("CPREWIND_REPO");
    return set != nullptr && *set != '\0' ? set : k_default_repository;
}

// The options of all commands may stand anywhere before a "--"; the first other word is the verb.
Line read_line(const std::vector<std::string>& arguments) {
    Line line;
    line.repository = default_repository();
    bool ours = true;
    for (size_t i = 0; i < arguments.size(); ++i) {
        const std::string& word = arguments[i];
        if (ours && word == "--json") {
            line.json = true;
        } else if (ours && (word == "--verbose" || word == "-v")) {
            line.verbose = true;
        } else if (ours && (word == "--help" || word == "-h")) {
            line.help = true;
        } else if (ours && word == "--version") {
            line.version = true;
        } else if (ours && word == "--repo") {
            if (i + 1 == arguments.size()) throw Error(ErrorKind::usage, "--repo needs a directory");
            line.repository = arguments[++i];
        } else if (ours && word.starts_with("--repo=")) {
            line.repository = word.substr(7);
        } else if (line.verb.empty() && !word.starts_with('-')) {
            line.verb = word;
        } else {
            if (word == "--") ours = false;
            line.rest.push_back(word);
        }
    }
    return line;
}

const Command& find_command(const std::string& name) {
    std::vector<std::string> names;
    for (const Command& command : commands()) {
        if (name == command.name) return command;
        names.push_back(command.name);
    }
    std::string hint = base::did_you_mean(name, names);
    throw Error(ErrorKind::usage, fmt::format("there is no command '{}'", base::escape(name)),
                hint.empty() ? "cprewind help lists them" : hint);
}

void print_usage(Output& output) {
    output.line(
        "cprewind takes snapshots of running containers (memory and files of one moment), shows what was in");
    output.line("them and what changed, and brings a container back to any of them.");
    output.line();
    Table table({"command", ""});
    for (const Command& command : commands()) table.add({command.name, command.summary});
    output.table(table);
    output.line();
    output.line(
        "Every command: --repo DIR (default /var/lib/cprewind, or CPREWIND_REPO), --json, --verbose, "
        "--help.");
    output.line(
        "A snapshot is called web@3, web@latest, web~2, web@{10m ago}, a tag, an id, or the path of a");
    output.line("directory of CRIU images.");
}

void report(const Error& error, const Line& line) {
    if (line.json) {
        Json document;
        document["error"] = {
            {"kind", base::name_of(error.kind())}, {"message", error.message()}, {"hint", nullptr}};
        if (!error.hint().empty()) document["error"]["hint"] = error.hint();
        complain(document.dump(-1, ' ', false, Json::error_handler_t::replace));
        return;
    }
    bool more = !error.detail().empty() && !line.verbose;
    std::string hint = error.hint();
    if (more) hint += hint.empty() ? "--verbose shows the log" : " (--verbose shows the log)";
    complain(error.message());
    if (!hint.empty()) complain("  " + hint);
    if (error.detail().empty() || more) return;
    for (const std::string& text : base::split(error.detail(), '\n')) complain("  | " + base::escape(text));
}

int run_line(const Line& line, Output& output) {
    if (line.version) {
        output.line("cprewind " CPREWIND_VERSION);
        return exit_done;
    }
    if (line.verb == "help" && !line.rest.empty()) {
        output.line(find_command(line.rest.front()).help);
        return exit_done;
    }
    if (line.verb == "help" || (line.verb.empty() && line.help)) {
        print_usage(output);
        return exit_done;
    }
    if (line.verb.empty()) throw Error(ErrorKind::usage, "what to do?", "cprewind help lists the commands");
    const Command& command = find_command(line.verb);
    if (line.help) {
        output.line(command.help);
        return exit_done;
    }
    Context context{line.repository, line.json, line.verbose, output};
    return command.run(context, line.rest);
}

// diff(1)'s convention, so that scripts can tell "different" from "could not look".
int status_of(const Error& error, const Line& line) {
    if (line.verb == "diff") return exit_diff_trouble;
    return error.kind() == ErrorKind::usage ? exit_usage : exit_failed;
}

}  // namespace

int run_app(const std::vector<std::string>& arguments) {
    // A closed pipe or a file size limit is an error of that write, not a reason to die in the middle of a
    // rewind.
    ::signal(SIGPIPE, SIG_IGN);
    ::signal(SIGXFSZ, SIG_IGN);
    Line line;
    try {
        line = read_line(arguments);
        Output output;
        int status = run_line(line, output);
        return output.flush() ? status : exit_reader_gone;
    } catch (const Error& error) {
        report(error, line);
        return status_of(error, line);
    } catch (const std::bad_alloc&) {
        Error error(ErrorKind::failed, "memory ran out", "free some memory, then retry");
        report(error, line);
        return status_of(error, line);
    } catch (const std::exception& exception) {
        Error error(ErrorKind::failed, fmt::format("unexpected: {}", base::escape(exception.what())),
                    "please report this");
        report(error, line);
        return status_of(error, line);
    }
}

}  // namespace cprewind::cli

// `cprewind explain`: why CRIU gave up, from its log.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "base/error.h"
#include "base/fd.h"
#include "base/text.h"
#include "cli/json_text.h"
#include "cli/moving.h"
#include "cli/options.h"
#include "cli/subject.h"
#include "engine/criu_log.h"
#include "engine/snapshot_files.h"

namespace cprewind::cli {

const char* const k_explain_help = R"(Examples:
  cprewind explain                            the last snap or rewind that failed on this host
  cprewind explain dump.log                   any log that CRIU wrote, or what runc printed of it
  docker start --checkpoint c web 2>&1 | cprewind explain
  cprewind explain web@3                      the log of that snapshot's dump

Usage: cprewind explain [LOGFILE | SNAPSHOT | -]

Tells what went wrong in CRIU's dump or restore, why that happens, and what to do, from a table of messages of CRIU, runc
and Docker. The first one is usually the reason of the others. `--verbose` adds what CRIU was about. Errors that are not in
the table are shown in CRIU's own words. A word that is the name of a file is a file; of a log of more than 64 MiB the rest
is not read.

Exit status: 0 the log tells of no error, 1 failed (the log cannot be read), 2 usage, 3 it tells of errors.)";

namespace {

namespace fs = std::filesystem;
constexpr uint64_t k_log_limit = 64u << 20;

struct NamedText {
    std::string name;
    std::string text;
};

std::string read_stream(int fd, const std::string& name) {
    std::string text;
    std::string piece(1u << 20, '\0');
    while (text.size() < k_log_limit) {
        size_t got = base::read_full(fd, std::as_writable_bytes(std::span(piece)), name);
        text.append(piece, 0, got);
        if (got < piece.size()) break;
    }
    return text;
}

bool standard_input_has_text() {
    struct stat st {};
    return ::fstat(STDIN_FILENO, &st) == 0 &&
           (S_ISFIFO(st.st_mode) || S_ISREG(st.st_mode) || S_ISSOCK(st.st_mode));
}

NamedText read_last_failure() {
    fs::path path = engine::failed_log_path();
    std::error_code ignored;
    if (!fs::exists(path, ignored)) {
        throw base::Error(base::ErrorKind::not_found,
                          "no snap or rewind has failed in CRIU since this host was started",
                          "name a log: cprewind explain LOGFILE");
    }
    base::Fd file = base::open_file(path, O_RDONLY);
    return {path.string(), read_stream(file.get(), path.string())};
}

NamedText read_snapshot_log(const Context& context, const std::string& word) {
    Subject subject = open_subject(context, word);
    auto text = images::read_whole(*subject.files, engine::k_dump_log);
    if (!text) {
        throw base::Error(
            base::ErrorKind::not_found,
            fmt::format("snapshot {} holds no log of CRIU: Docker made it, or it was imported", subject.name),
            "docker's own logs are in the daemon's: journalctl -u docker");
    }
    return {subject.name, std::move(*text)};
}

NamedText read_log(const Context& context, const std::vector<std::string>& words) {
    if (words.empty() && !standard_input_has_text()) return read_last_failure();
    if (words.empty() || words.front() == "-")
        return {"standard input", read_stream(STDIN_FILENO, "standard input")};
    const std::string& word = words.front();
    std::error_code ignored;
    bool there = fs::exists(word, ignored);
    if (!there && word.find('/') == std::string::npos && word.find(".log") == std::string::npos) {
        return read_snapshot_log(context, word);
    }
    fs::path path = word;
    // A work directory of CRIU's: whichever log is there.
    for (const char* name : {"restore.log", "dump.log"}) {
        if (fs::is_directory(word, ignored) && fs::exists(fs::path(word) / name, ignored))
            path = fs::path(word) / name;
    }
    base::Fd file = base::open_file(path, O_RDONLY);
    return {path.string(), read_stream(file.get(), path.string())};
}

Json problem_json(const engine::CriuProblem& problem) {
    Json item;
    item["known"] = problem.known != nullptr;
    item["cause"] = problem.known != nullptr ? Json(std::string(problem.known->cause)) : Json();
    item["meaning"] = problem.known != nullptr ? Json(std::string(problem.known->meaning)) : Json();
    item["remedy"] = problem.known != nullptr ? Json(std::string(problem.known->remedy)) : Json();
    put_bytes(item, "message", problem.message);
    put_bytes(item, "line", problem.line);
    item["line_number"] = problem.line_number;
    item["times"] = problem.times;
    return item;
}

void print_problem(const Context& context, const engine::CriuProblem& problem, bool first) {
    Output& output = context.output;
    std::string head = problem.known != nullptr ? std::string(problem.known->cause)
                                                : "not in the table: " + base::escape(problem.message);
    output.line(fmt::format("{} {}",
                            output.paint(first ? Colour::red : Colour::yellow, first ? "cause: " : "also:  "),
                            output.paint(Colour::bold, head)));
    std::string often = problem.times > 1 ? fmt::format(", {} times", problem.times) : "";
    output.line(fmt::format("  line {}{}: {}", problem.line_number, often,
                            output.paint(Colour::dim, base::escape(problem.line))));
    if (problem.known == nullptr) return;
    if (context.verbose || first) output.line(fmt::format("  {}", problem.known->meaning));
    output.line(fmt::format("  -> {}", problem.known->remedy));
}

}  // namespace

int run_explain(Context& context, const std::vector<std::string>& arguments) {
    Parsed parsed = parse_words(arguments, po::options_description(), 0, 1, "LOGFILE");
    NamedText source = read_log(context, parsed.words);
    engine::CriuLog log = engine::read_criu_log(source.text);
    // Errors in the log of a dump that succeeded stand for what CRIU could do without.
    bool failed =
        log.outcome == engine::CriuOutcome::failed ||
        (log.outcome == engine::CriuOutcome::unknown && (!log.problems.empty() || log.consequences > 0));
    if (context.json) {
        Json document;
        put_bytes(document, "log", source.name);
        document["phase"] =
            log.phase == engine::CriuPhase::either ? Json() : Json(engine::name_of(log.phase));
        document["outcome"] = engine::name_of(log.outcome);
        if (log.criu.empty()) {
            document["criu"] = nullptr;
        } else {
            put_bytes(document, "criu", log.criu);
        }
        document["problems"] = Json::array();
        for (const engine::CriuProblem& problem : log.problems)
            document["problems"].push_back(problem_json(problem));
        document["consequences"] = log.consequences;
        document["lines"] = log.lines;
        context.output.json(document);
        return failed ? exit_findings : exit_done;
    }
    std::string what =
        log.phase == engine::CriuPhase::either ? "log" : fmt::format("a {}", engine::name_of(log.phase));
    std::string how = log.outcome == engine::CriuOutcome::unknown
                          ? "does not say how it ended"
                          : fmt::format("which {}", engine::name_of(log.outcome));
    context.output.line(
        fmt::format("{}: {}{}, {}", base::escape(source.name), what,
                    log.criu.empty() ? "" : fmt::format(" by CRIU {}", base::escape(log.criu)), how));
    for (size_t i = 0; i < log.problems.size(); ++i) print_problem(context, log.problems[i], i == 0);
    if (log.consequences > 0 && failed) {
        context.output.line(fmt::format("and {} that only {} from it",
                                        base::counted(log.consequences, "line"),
                                        log.consequences == 1 ? "follows" : "follow"));
    }
    if (log.problems.empty()) {
        context.output.line(failed ? "the log is cut: it says that something failed, and no longer what"
                                   : "it tells of no error");
    }
    return failed ? exit_findings : exit_done;
}

}  // namespace cprewind::cli

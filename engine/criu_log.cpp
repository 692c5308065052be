#include "engine/criu_log.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/fd.h"
#include "base/text.h"
#include "runtime/plan.h"

namespace cprewind::engine {
namespace {

// A log with more different errors than this is no log of CRIU's; they are counted, not kept.
constexpr size_t k_most_problems = 200;

// "(00.012345)     12: Error (criu/files.c:12): text" without the time stamp.
std::string_view without_stamp(std::string_view line) {
    if (line.starts_with('(')) {
        size_t end = line.find(')');
        if (end != std::string_view::npos) line.remove_prefix(end + 1);
    }
    return base::trim(line);
}

// What follows the source line of an error, or nothing. runc quotes such lines in the middle of its own, with
// backslashes before quotes.
std::optional<std::string_view> error_in(std::string_view line) {
    size_t error = line.find("Error (");
    size_t end = error == std::string_view::npos ? error : line.find("): ", error);
    if (end == std::string_view::npos) return std::nullopt;
    std::string_view message = base::trim(line.substr(end + 3));
    if (line.starts_with("time=") && message.ends_with('"')) message.remove_suffix(1);
    return message;
}

void note_outcome(std::string_view line, CriuLog& log) {
    auto says = [&](std::string_view text) { return line.find(text) != std::string_view::npos; };
    if (log.criu.empty() && says("Version: ")) {
        std::string_view rest = line.substr(line.find("Version: ") + 9);
        log.criu = rest.substr(0, rest.find(' '));
    }
    if (says("Dumping processes (pid") || says("Dumping finished") || says("Dumping FAILED"))
        log.phase = CriuPhase::dump;
    if (says("Restore finished") || says("Restoring FAILED") || says("Restoring processes"))
        log.phase = CriuPhase::restore;
    if (says("Dumping finished successfully") || says("Restore finished successfully"))
        log.outcome = CriuOutcome::succeeded;
    if (says("Dumping FAILED") || says("Restoring FAILED")) log.outcome = CriuOutcome::failed;
}

void add_problem(std::string_view message, std::string_view line, CriuLog& log) {
    // The same trouble with another pid or file is the same trouble.
    const CriuMessage* known = find_criu_message(message);
    auto same = std::find_if(log.problems.begin(), log.problems.end(), [&](const CriuProblem& p) {
        return known != nullptr ? p.known == known : p.message == message;
    });
    if (same != log.problems.end()) {
        ++same->times;
    } else if (log.problems.size() < k_most_problems) {
        log.problems.push_back({known, std::string(message), std::string(line), log.lines, 1});
    }
}

// What runc, containerd and Docker print when there is no log of CRIU's: only what we know is told from noise.
void read_foreign_text(std::string_view text, CriuLog& log) {
    log.lines = 0;
    for (const std::string& line : base::split(text, '\n')) {
        ++log.lines;
        if (find_criu_message(line) != nullptr && !is_consequence(line))
            add_problem(base::trim(line), base::trim(line), log);
    }
}

}  // namespace

const char* name_of(CriuPhase phase) {
    switch (phase) {
        case CriuPhase::dump:
            return "dump";
        case CriuPhase::restore:
            return "restore";
        case CriuPhase::either:
            return "either";
    }
    return "either";
}

const char* name_of(CriuOutcome outcome) {
    switch (outcome) {
        case CriuOutcome::succeeded:
            return "succeeded";
        case CriuOutcome::failed:
            return "failed";
        case CriuOutcome::unknown:
            return "unknown";
    }
    return "unknown";
}

CriuLog read_criu_log(std::string_view text) {
    CriuLog log;
    bool criu_spoke = false;
    for (size_t at = 0; at < text.size();) {
        size_t end = std::min(text.find('\n', at), text.size());
        std::string_view line = text.substr(at, end - at);
        at = end + 1;
        ++log.lines;
        note_outcome(line, log);
        auto message = error_in(line);
        if (!message) continue;
        criu_spoke = true;
        if (is_consequence(*message)) {
            ++log.consequences;
        } else {
            add_problem(*message, without_stamp(line), log);
        }
    }
    if (!criu_spoke && log.outcome == CriuOutcome::unknown) read_foreign_text(text, log);
    if (log.phase == CriuPhase::either && !log.problems.empty() && log.problems.front().known != nullptr) {
        log.phase = log.problems.front().known->phase;
    }
    return log;
}

std::optional<CriuCause> explain_criu_log(std::string_view text) {
    CriuLog log = read_criu_log(text);
    auto told = std::find_if(log.problems.begin(), log.problems.end(),
                             [](const CriuProblem& p) { return p.known != nullptr; });
    if (told == log.problems.end()) told = log.problems.begin();
    if (told != log.problems.end()) {
        std::string said = base::escape(told->message);
        // CRIU's own words name the file, the pid, the address.
        if (told->known == nullptr) return CriuCause{said, "", told->line};
        return CriuCause{fmt::format("{} ({})", told->known->cause, said), std::string(told->known->remedy),
                         told->line};
    }
    for (const std::string& line : base::split(text, '\n')) {
        if (auto message = error_in(line))
            return CriuCause{base::escape(*message), "", std::string(without_stamp(line))};
    }
    return std::nullopt;
}

std::filesystem::path failed_log_path() {
    return runtime::state_directory().parent_path() / "failed.log";
}

void keep_failed_log(std::string_view log) noexcept {
    try {
        if (log.empty()) return;
        base::make_private_directory(failed_log_path().parent_path());
        base::replace_file(failed_log_path(), log);
    } catch (...) {
        // Then `explain` has nothing to show; the message and --verbose have it all.
    }
}

}  // namespace cprewind::engine

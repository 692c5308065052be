// `cprewind bisect`: which snapshot is the first for which a command fails.
#include <fcntl.h>
#include <fmt/format.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "base/error.h"
#include "base/fd.h"
#include "base/process.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "cli/snapshot_answers.h"
#include "cli/subject.h"
#include "engine/fork.h"
#include "engine/guard.h"

namespace cprewind::cli {

const char* const k_bisect_help = R"(Examples:
  cprewind bisect web@1 web@40 -- sh -c 'grep -q "^debug=no" "$CPREWIND_ANSWERS/files/etc/app.conf"'
  cprewind bisect web@1 web@40 -- sh -c '! cprewind inspect "$CPREWIND_SNAPSHOT" fds | grep -q :4444'
  cprewind bisect db@1 db@40 --fork -- sh -c 'docker exec "$CPREWIND_FORK" redis-cli get total | grep -q 42'

Usage: cprewind bisect GOOD BAD [--fork] -- COMMAND [ARGUMENT…]

Finds the first snapshot for which COMMAND fails, among those from GOOD to BAD of the same container, by halving. It is
run on this host, never in a container. What it gets:

  CPREWIND_SNAPSHOT   name, for cprewind itself      CPREWIND_CONTAINER  the container's name
  CPREWIND_TAKEN_AT   RFC 3339                       CPREWIND_ANSWERS    a directory, gone afterwards, with
      overview.json ps.json fds.json mem.json files.json container.json    what `inspect … --json` prints, and
      files/                                         the writable layer's regular files, directories and such links as
                                                     stay inside; owner, mode and time are not kept
      volumes/                                       the same of each captured volume, where the container has it

  --fork  runs each snapshot that is tried as a container of its own, as `cprewind fork` does (no published ports,
          copies of the volumes), which is removed afterwards, with its volumes:
      CPREWIND_FORK       its name                       CPREWIND_FORK_ADDRESS  its IP address, empty without one

COMMAND's exit status: 0 good; 125 cannot be judged, another one is tried; 1 to 127 bad; anything else ends the search.
GOOD and BAD themselves are tried first.

Exit status: 0 found, 1 failed, 2 usage.)";

namespace {

using base::Error;
using base::ErrorKind;

enum class Verdict { good, bad, skip };

// A container of a past moment for as long as the command looks at it, and not when we are killed meanwhile, either.
class Trial {
 public:
    Trial(Context& context, const store::SnapshotRecord& record)
        : fork_(make(context, record)),
          // Not disarmed, it acts when this ends.
          guard_([id = fork_.id] { engine::DockerClient().remove(id, true); }) {}

    const engine::Forked& fork() const { return fork_; }

 private:
    static engine::Forked make(Context& context, const store::SnapshotRecord& record) {
        engine::DockerClient docker;
        engine::ForkRequest request;
        // Two bisections may run at once.
        request.name = fmt::format("cprewind-bisect-{}-{}", ::getpid(), record.number);
        auto repository = store::open_repository(context.repository, store::OpenMode::write);
        Progress progress(!context.json);
        return engine::fork(docker, *repository, record, request, progress.report()).forks.front();
    }

    engine::Forked fork_;
    engine::Guard guard_;
};

Verdict judge(Context& context, const store::SnapshotRecord& record, const std::vector<std::string>& command,
              bool in_fork) {
    base::TemporaryDirectory directory(std::filesystem::temp_directory_path(), "cprewind-bisect-");
    Subject subject = open_subject(context, record.id);
    write_answers(context, subject, directory.path());
    std::optional<Trial> trial;
    if (in_fork) trial.emplace(context, record);
    const std::pair<const char*, std::string> variables[] = {
        {"CPREWIND_SNAPSHOT", record.name()},
        {"CPREWIND_CONTAINER", record.info.container_name},
        {"CPREWIND_TAKEN_AT", base::rfc3339(record.info.taken_at)},
        {"CPREWIND_ANSWERS", directory.path().string()},
        {"CPREWIND_REPO", context.repository.string()},
        {"CPREWIND_FORK", trial ? trial->fork().name : std::string()},
        {"CPREWIND_FORK_ADDRESS", trial ? trial->fork().ip_address : std::string()},
    };
    for (const auto& [name, value] : variables) ::setenv(name, value.c_str(), 1);
    context.output.flush();
    base::SpawnOptions options;
    // Its output is for the reader of the terminal, not part of our answer.
    options.standard_out = STDERR_FILENO;
    options.standard_error = STDERR_FILENO;
    base::ExitStatus status = base::Child(command, options).wait();
    trial.reset();
    constexpr int k_skip = 125;  // as for git bisect run
    if (status.success()) return Verdict::good;
    if (status.exited && status.code == k_skip) return Verdict::skip;
    if (status.exited && status.code < 128) return Verdict::bad;
    throw Error(ErrorKind::failed,
                fmt::format("the command ended for {} with {}", record.name(), status.describe()),
                "0 is good, 125 cannot be judged, 1 to 127 is bad");
}

const char* name_of(Verdict verdict) {
    return verdict == Verdict::good ? "good" : verdict == Verdict::bad ? "bad" : "cannot be judged";
}

std::vector<store::SnapshotRecord> range_between(const store::Repository& repository,
                                                 const store::SnapshotRecord& good,
                                                 const store::SnapshotRecord& bad) {
    if (good.info.container_id != bad.info.container_id) {
        throw Error(ErrorKind::usage,
                    fmt::format("{} and {} are of different containers", good.name(), bad.name()));
    }
    if (good.number >= bad.number) {
        throw Error(ErrorKind::usage, fmt::format("{} is not before {}", good.name(), bad.name()),
                    "the good one comes first");
    }
    auto records = repository.list(good.info.container_id);
    std::erase_if(records, [&](const store::SnapshotRecord& record) {
        return record.number < good.number || record.number > bad.number;
    });
    return records;
}

class Bisection {
 public:
    Bisection(Context& context, std::vector<store::SnapshotRecord> records, std::vector<std::string> command,
              bool in_fork)
        : context_(context),
          records_(std::move(records)),
          command_(std::move(command)),
          in_fork_(in_fork),
          verdicts_(records_.size()) {}

    // Indexes of the last good and the first bad one; between them are only such as cannot be judged.
    std::pair<size_t, size_t> search() {
        size_t good = 0, bad = records_.size() - 1;
        demand(good, Verdict::good);
        demand(bad, Verdict::bad);
        while (bad - good > 1) {
            auto middle = untried_near((good + bad) / 2, good, bad);
            if (!middle) break;
            Verdict verdict = try_one(*middle);
            if (verdict == Verdict::good) good = *middle;
            if (verdict == Verdict::bad) bad = *middle;
        }
        return {good, bad};
    }
    const store::SnapshotRecord& at(size_t index) const { return records_[index]; }
    Json steps() const { return steps_; }

 private:
    Verdict try_one(size_t index) {
        Verdict verdict = judge(context_, records_[index], command_, in_fork_);
        verdicts_[index] = verdict;
        steps_.push_back({{"snapshot", records_[index].name()}, {"verdict", name_of(verdict)}});
        if (!context_.json)
            context_.output.line(fmt::format("{}  {}", records_[index].name(), name_of(verdict)));
        return verdict;
    }
    void demand(size_t index, Verdict wanted) {
        Verdict verdict = try_one(index);
        if (verdict == wanted) return;
        throw Error(ErrorKind::failed,
                    fmt::format("the command finds {} {}, not {}", records_[index].name(), name_of(verdict),
                                name_of(wanted)),
                    "the first snapshot has to be good and the last one bad");
    }
    // The untried one nearest to `index` strictly between the two.
    std::optional<size_t> untried_near(size_t index, size_t good, size_t bad) const {
        std::optional<size_t> best;
        for (size_t i = good + 1; i < bad; ++i) {
            if (verdicts_[i]) continue;
            auto distance = [&](size_t j) { return j > index ? j - index : index - j; };
            if (!best || distance(i) < distance(*best)) best = i;
        }
        return best;
    }

    Context& context_;
    std::vector<store::SnapshotRecord> records_;
    std::vector<std::string> command_;
    bool in_fork_;
    std::vector<std::optional<Verdict>> verdicts_;
    Json steps_ = Json::array();
};

}  // namespace

int run_bisect(Context& context, const std::vector<std::string>& arguments) {
    auto dashes = std::find(arguments.begin(), arguments.end(), "--");
    std::vector<std::string> command(dashes == arguments.end() ? dashes : dashes + 1, arguments.end());
    po::options_description options;
    options.add_options()("fork", "");
    Parsed parsed = parse_words({arguments.begin(), dashes}, options, 2, 2, "GOOD BAD");
    if (command.empty()) {
        throw Error(ErrorKind::usage, "bisect needs a command after --", "cprewind help bisect");
    }
    auto repository = open_for_reading(context);
    auto now = std::chrono::system_clock::now();
    auto good = repository->resolve(parsed.words[0], now), bad = repository->resolve(parsed.words[1], now);
    Bisection bisection(context, range_between(*repository, good, bad), std::move(command),
                        parsed.has("fork"));
    auto [last_good, first_bad] = bisection.search();
    bool exact = first_bad - last_good == 1;
    if (context.json) {
        context.output.json({{"first_bad", bisection.at(first_bad).name()},
                             {"last_good", bisection.at(last_good).name()},
                             {"exact", exact},
                             {"steps", bisection.steps()}});
        return exit_done;
    }
    context.output.line(
        fmt::format("{} {}", exact ? "first bad:" : "first bad, or one that could not be judged before it:",
                    context.output.paint(Colour::bold, bisection.at(first_bad).name())));
    context.output.line(fmt::format("what changed: cprewind diff {} {}", bisection.at(last_good).name(),
                                    bisection.at(first_bad).name()));
    return exit_done;
}

}  // namespace cprewind::cli

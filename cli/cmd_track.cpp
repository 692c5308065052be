// `cprewind track`: one thing, through a timeline.
#include <fmt/format.h>

#include <filesystem>
#include <functional>

#include "base/error.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/json_text.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "cli/record_view.h"
#include "cli/subject.h"
#include "inspect/track.h"

namespace cprewind::cli {

const char* const k_track_help = R"(Examples:
  cprewind track web --file /etc/app.conf              one line for each snapshot; * where it changed
  cprewind track web --env LD_PRELOAD                  of the first process that has it; --pid for one
  cprewind track web --fds --pid 1                     what a process has open
  cprewind track web --range 0x7f12a000-0x7f12b000 --pid 1
  cprewind track web --search 'BEGIN PRIVATE KEY'      when a text came into memory, and when it went

Usage: cprewind track CONTAINER (--file PATH | --env NAME | --fds | --range A-B | --search TEXT) [options]

  --file PATH     a file of the writable layer, or of a volume that the snapshots have
  --env NAME      an environment variable
  --fds           the open files of a process
  --range A-B     memory, from address A up to but not B, hexadecimal
  --search TEXT   memory of all processes
  --pid PID       which process; needed by --fds and --range
  --changes       only the snapshots in which it changed

Exit status: 0 done, 1 failed, 2 usage, 3 done, with findings.)";

namespace {

using base::escape;
using Tracer = std::function<inspect::Trace(const Subject&, images::Findings&)>;

images::AddressRange parse_range(const std::string& text) {
    size_t dash = text.find('-');
    if (dash != std::string::npos) {
        auto start = base::parse_address(text.substr(0, dash)),
             end = base::parse_address(text.substr(dash + 1));
        if (start && end && *start < *end) return {*start, *end};
    }
    throw base::Error(base::ErrorKind::usage, fmt::format("'{}' is no range of addresses", escape(text)),
                      "for example: --range 0x7f12a000-0x7f12b000");
}

images::DumpPid needed_pid(const Parsed& parsed, const char* option) {
    if (parsed.has("pid")) return {parsed.values["pid"].as<uint32_t>()};
    throw base::Error(base::ErrorKind::usage, fmt::format("{} needs --pid", option),
                      "cprewind inspect SNAPSHOT ps");
}

// Where the container has it: what is mounted deepest hides the rest. A volume that was not captured says nothing.
inspect::Trace trace_file(const Subject& subject, std::string path) {
    path.erase(0, path.find_first_not_of('/'));
    const images::LayerTree* tree = subject.layer ? &*subject.layer : nullptr;
    size_t deepest = 0;
    for (const images::FileTree& volume : subject.trees) {
        auto place = std::filesystem::path(volume.destination).lexically_normal().relative_path();
        std::string mount = (place / "").string();
        if (mount.size() <= deepest || !path.starts_with(mount)) continue;
        deepest = mount.size();
        tree = &volume.tree;
    }
    return tree ? inspect::trace_file(*tree, path.substr(deepest)) : inspect::Trace();
}

Tracer choose_tracer(const Parsed& parsed) {
    int chosen = 0;
    for (const char* name : {"file", "env", "fds", "range", "search"}) chosen += parsed.has(name);
    if (chosen != 1) {
        throw base::Error(base::ErrorKind::usage, "track follows one thing",
                          "one of --file, --env, --fds, --range, --search");
    }
    std::optional<images::DumpPid> pid;
    if (parsed.has("pid")) pid = images::DumpPid{parsed.values["pid"].as<uint32_t>()};
    if (parsed.has("file")) {
        return [path = parsed.text("file")](const Subject& subject, images::Findings&) {
            return trace_file(subject, path);
        };
    }
    if (parsed.has("env")) {
        return [name = parsed.text("env"), pid](const Subject& subject, images::Findings& findings) {
            return inspect::trace_variable(subject.moment(), pid, name, findings);
        };
    }
    if (parsed.has("fds")) {
        return [one = needed_pid(parsed, "--fds")](const Subject& subject, images::Findings&) {
            return inspect::trace_fds(subject.checkpoint, one);
        };
    }
    if (parsed.has("range")) {
        return [one = needed_pid(parsed, "--range"), range = parse_range(parsed.text("range"))](
                   const Subject& subject, images::Findings& findings) {
            return inspect::trace_range(subject.moment(), one, range, findings);
        };
    }
    return [text = parsed.text("search"), pid](const Subject& subject, images::Findings& findings) {
        return inspect::trace_text(subject.moment(), pid, text, findings);
    };
}

// "in web@3 first and in web@7 last", for what comes and goes.
struct Presence {
    std::string first, last;
    void see(const std::string& name) {
        if (first.empty()) first = name;
        last = name;
    }
};

}  // namespace

int run_track(Context& context, const std::vector<std::string>& arguments) {
    po::options_description options;
    options.add_options()("file", po::value<std::string>())("env", po::value<std::string>())("fds", "")(
        "range", po::value<std::string>())("search", po::value<std::string>())("pid", po::value<uint32_t>())(
        "changes", "");
    Parsed parsed = parse_words(arguments, options, 1, 1, "CONTAINER");
    Tracer tracer = choose_tracer(parsed);
    auto repository = open_for_reading(context);
    auto records = repository->list(parsed.words[0]);
    if (records.empty()) {
        throw base::Error(base::ErrorKind::not_found,
                          fmt::format("there is no snapshot of a container '{}'", escape(parsed.words[0])),
                          "cprewind log lists all");
    }
    Progress progress(!context.json);
    auto now = std::chrono::system_clock::now();
    Json list = Json::array();
    Table table({"", "snapshot", "taken", "state"});
    images::Findings findings;
    Presence presence;
    std::optional<inspect::Trace> previous;
    uint64_t done = 0;
    for (const store::SnapshotRecord& record : records) {
        progress.show("reading", done++, records.size());
        Subject subject = open_subject(context, record.id);
        inspect::Trace trace = tracer(subject, findings);
        bool changed = previous && (previous->there != trace.there || previous->state != trace.state);
        if (trace.there) presence.see(record.name());
        if (!parsed.has("changes") || changed || !previous) {
            std::string state =
                trace.there ? escape(trace.summary) : context.output.paint(Colour::dim, "not there");
            table.add({changed ? "*" : "", record.name(), when(record.info.taken_at, now), state});
            Json item;
            item["snapshot"] = record.name();
            item["id"] = record.id;
            item["taken_at"] = base::rfc3339(record.info.taken_at);
            item["there"] = trace.there;
            item["changed"] = changed;
            put_bytes(item, "summary", trace.summary);
            list.push_back(std::move(item));
        }
        previous = std::move(trace);
    }
    progress.clear();
    if (context.json) {
        Json document{{"snapshots", list}};
        document["first"] = presence.first.empty() ? Json() : Json(presence.first);
        document["last"] = presence.last.empty() ? Json() : Json(presence.last);
        document["findings"] = findings_json(findings);
        context.output.json(document);
    } else {
        context.output.table(table);
        context.output.line(presence.first.empty()
                                ? "in none of them"
                                : fmt::format("first in {}, last in {}", presence.first, presence.last));
        print_findings(context.output, findings);
    }
    return findings.empty() ? exit_done : exit_findings;
}

}  // namespace cprewind::cli

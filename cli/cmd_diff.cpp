// `cprewind diff`: what changed between two moments.
#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/diff_html.h"
#include "cli/diff_sections.h"
#include "cli/json_text.h"
#include "cli/moment_now.h"
#include "cli/options.h"
#include "cli/subject.h"

namespace cprewind::cli {

const char* const k_diff_help = R"(Examples:
  cprewind diff web@1 web@2               everything, the first lines of each part
  cprewind diff web@1 web@2 files         one part in full: which lines of which file
  cprewind diff web@3 web@now             with the running container as it is now
  cprewind diff web@1 web@2 --bytes       each byte of memory that differs, before and after
  cprewind diff web@1 web@2 threads --stacks  a hang: where threads stand that did not move
  cprewind diff web@1 web@2 --html d.html a page to look at: memory maps side by side
  cprewind diff web@1 web@2 ps --unchanged  the whole tree, with what became of each process
  cprewind diff ./before ./after          two directories of CRIU images, or archives of them

Usage: cprewind diff A B [PART] [options]

A and B are snapshots, paths, or CONTAINER@now: a snapshot is taken on the spot and dropped afterwards. Parts: ps
(processes with credentials, limits, command line and environment), fds (open files and sockets), threads (those that
stand where they stood), system (host name, mounts, the container's configuration), mem, files (of the writable layer).

  --stat         one line for each part
  --unchanged    ps and fds: also what is the same; ps as a tree, with command lines and environments
  --pid PID      only this process
  --pages        memory: each range of pages that differs
  --bytes        memory: each byte that differs, before and after
  --strings[=N]  memory: strings of at least N characters (default 6) that came or went
  --stacks       threads: the stacks of those that stand still, as `inspect --stacks` shows them; --sysroot DIR as there
  --html FILE    writes a self-contained page of all parts instead, with --stacks those, too; FILE must not exist

Exit status: 0 nothing differs, 1 something does, 2 trouble, 3 nothing differs in what could be read, with findings.)";

namespace {

using base::escape;

struct Part {
    const char* view;
    const char* title;
    const char* key;  // in JSON
    Section (*compare)(Context&, const DiffRequest&, images::Findings&);
};

const std::vector<Part> k_parts = {
    {"ps", "processes", "processes", section_ps},       {"fds", "open files", "fds", section_fds},
    {"threads", "threads", "threads", section_threads}, {"system", "system", "system", section_system},
    {"mem", "memory", "memory", section_memory},        {"files", "files", "files", section_files},
};

void check_part(const std::string& name) {
    std::vector<std::string> names;
    for (const Part& part : k_parts) names.emplace_back(part.view);
    if (name.empty() || std::find(names.begin(), names.end(), name) != names.end()) return;
    std::string hint = base::did_you_mean(name, names);
    throw base::Error(base::ErrorKind::usage, fmt::format("diff has no part '{}'", escape(name)),
                      hint.empty() ? "the parts are: " + base::join(names, ", ") : hint);
}

// The page has all parts, in full.
void check_whole_page(const Parsed& parsed, const std::string& only) {
    std::string word = only;
    for (const char* option : {"stat", "unchanged", "pages", "bytes", "strings"}) {
        if (parsed.has(option)) word = fmt::format("--{}", option);
    }
    if (word.empty()) return;
    throw base::Error(base::ErrorKind::usage,
                      fmt::format("--html writes all parts: '{}' does not go with it", word),
                      "leave one of them out; --pid and --stacks go with --html");
}

void check_pid(const DiffRequest& request) {
    if (!request.pid) return;
    images::DumpPid pid{*request.pid};
    if (request.a.checkpoint.find_process(pid) || request.b.checkpoint.find_process(pid)) return;
    throw base::Error(base::ErrorKind::not_found, fmt::format("neither side has a process {}", pid.value),
                      fmt::format("cprewind inspect {} ps", request.b.name));
}

// In the summary each part shows this many lines at most; in full it shows all.
constexpr size_t k_summary_lines = 6;

enum class Amount { headline, summary, whole };

void print_section(Output& output, const Part& part, const Section& section, Amount amount,
                   const std::string& command) {
    Colour colour = section.same ? Colour::dim : Colour::yellow;
    output.line(fmt::format("{} {}", output.paint(Colour::bold, fmt::format("{:<10}", part.title)),
                            output.paint(colour, section.headline)));
    if (amount == Amount::headline) return;
    if (amount == Amount::whole) {
        for (const std::string& line : section.details.empty() ? section.lines : section.details)
            output.line("  " + line);
        return;
    }
    size_t shown = std::min(section.lines.size(), k_summary_lines);
    for (size_t i = 0; i < shown; ++i) output.line("  " + section.lines[i]);
    if (shown < std::max(section.lines.size(), section.details.size())) {
        output.line(output.paint(Colour::dim, fmt::format("  … in detail: {} {}", command, part.view)));
    }
}

// Those that the other side has, so that they can be compared.
engine::VolumeWish volumes_of(const Subject& subject) {
    engine::VolumeWish wish;
    for (const images::FileTree& tree : subject.trees) {
        if (!tree.destination.empty()) wish.names.push_back(tree.destination);
    }
    wish.wanted = !wish.names.empty();
    return wish;
}

std::pair<Subject, Subject> open_sides(MomentNow& now, const std::string& a, const std::string& b) {
    if (MomentNow::is_now(a) && !MomentNow::is_now(b)) {
        Subject after = now.open(b);
        Subject before = now.open(a, volumes_of(after));
        return {std::move(before), std::move(after)};
    }
    Subject before = now.open(a);
    Subject after = now.open(b, volumes_of(before));
    return {std::move(before), std::move(after)};
}

DiffRequest make_request(const Parsed& parsed, const Subject& a, const Subject& b, bool whole) {
    DiffRequest request{a, b, {}, whole, parsed.has("pages"), parsed.has("bytes"), 0};
    request.reused = inspect::reused_pids(a.started, b.started);
    request.renumbered = inspect::restored_between(a.started, b.started);
    if (parsed.has("pid")) request.pid = parsed.values["pid"].as<uint32_t>();
    if (parsed.has("strings")) request.strings = std::max<size_t>(parsed.values["strings"].as<size_t>(), 1);
    request.unchanged = parsed.has("unchanged");
    request.stacks = parsed.has("stacks");
    request.sysroot = parsed.text("sysroot");
    check_pid(request);
    return request;
}

// What a side is: whose moment, when, how large.
struct Side {
    std::string container, id, image;
    std::optional<base::WallTime> taken_at;
    uint64_t memory_bytes = 0;
};

Side describe_side(const Subject& subject) {
    Side side;
    if (subject.record) {
        const store::SnapshotInfo& info = subject.record->info;
        side = {info.container_name, info.container_id, info.container_image, info.taken_at, 0};
    } else if (subject.origin) {
        const images::Origin& origin = *subject.origin;
        side = {origin.container_name, origin.container_id, origin.container_image, origin.checkpointed, 0};
    }
    for (const std::string& name : subject.images->list()) {
        if (!name.starts_with("pages-")) continue;
        if (auto file = subject.images->open(name)) side.memory_bytes += file->size();
    }
    return side;
}

std::string side_line(const Output& output, const Subject& subject) {
    Side side = describe_side(subject);
    std::string line = output.paint(Colour::bold, escape(subject.name));
    if (!side.container.empty()) line += fmt::format("  {} ({})", escape(side.container), escape(side.image));
    if (side.taken_at) line += "  " + base::local_time(*side.taken_at);
    return line + fmt::format("  {} of memory", base::human_bytes(side.memory_bytes));
}

Json side_json(const Subject& subject) {
    Side side = describe_side(subject);
    Json item;
    put_bytes(item, "name", subject.name);
    put_bytes(item, "container_name", side.container);
    put_bytes(item, "container_id", side.id);
    put_bytes(item, "container_image", side.image);
    item["taken_at"] = side.taken_at ? Json(base::rfc3339(*side.taken_at)) : Json();
    item["memory_bytes"] = side.memory_bytes;
    return item;
}

}  // namespace

int run_diff(Context& context, const std::vector<std::string>& arguments) {
    po::options_description options;
    options.add_options()("stat", "")("unchanged", "")("pid", po::value<uint32_t>())("pages", "")(
        "bytes", "")("strings", po::value<size_t>()->implicit_value(6))("html", po::value<std::string>())(
        "stacks", "")("sysroot", po::value<std::string>());
    Parsed parsed = parse_words(arguments, options, 2, 3, "A B");
    std::string only = parsed.words.size() > 2 ? parsed.words[2] : "";
    check_part(only);
    if (parsed.has("html")) check_whole_page(parsed, only);
    // To ask for pages is to ask for memory.
    bool detailed = parsed.has("pages") || parsed.has("bytes") || parsed.has("strings");
    if (only.empty() && detailed) only = "mem";
    if (only != "mem" && detailed) {
        throw base::Error(base::ErrorKind::usage, "--pages, --bytes and --strings are about the part mem");
    }

    if (parsed.has("sysroot") && !parsed.has("stacks"))
        throw base::Error(base::ErrorKind::usage, "--sysroot is for --stacks");
    if (only.empty() && parsed.has("stacks") && !parsed.has("html")) only = "threads";
    if (only != "threads" && parsed.has("stacks") && !parsed.has("html"))
        throw base::Error(base::ErrorKind::usage, "--stacks is about the part threads");

    MomentNow now(context);
    auto [a, b] = open_sides(now, parsed.words[0], parsed.words[1]);
    if (only.empty() || only == "files") {
        add_file_digests(a);
        add_file_digests(b);
    }
    DiffRequest request = make_request(parsed, a, b, !only.empty());
    images::Findings findings;
    for (const Subject* side : {&a, &b}) {
        for (const images::Finding& finding : side->checkpoint.findings)
            images::add_finding(findings, finding);
    }
    if (parsed.has("html")) {
        bool same = write_diff_html(context, request, parsed.text("html"), findings);
        return same ? exit_done : exit_different;
    }

    Json document;
    document["a"] = a.name;
    document["b"] = b.name;
    document["sides"] = Json::array({side_json(a), side_json(b)});
    bool same = true;
    std::string command =
        fmt::format("cprewind diff {} {}", escape(parsed.words[0]), escape(parsed.words[1]));
    if (!context.json) {
        for (const auto& [mark, side] : {std::pair("-", &a), std::pair("+", &b)})
            context.output.line(fmt::format("{} {}", mark, side_line(context.output, *side)));
    }
    Amount amount = parsed.has("stat") ? Amount::headline : only.empty() ? Amount::summary : Amount::whole;
    for (const Part& part : k_parts) {
        if (!only.empty() && only != part.view) {
            document[part.key] = nullptr;
            continue;
        }
        Section section = part.compare(context, request, findings);
        same = same && section.same;
        document[part.key] = section.json;
        if (!context.json) print_section(context.output, part, section, amount, command);
    }
    document["same"] = same;
    document["findings"] = findings_json(findings);
    if (context.json) {
        context.output.json(document);
    } else {
        print_findings(context.output, findings);
    }
    if (!same) return exit_different;
    return findings.empty() ? exit_done : exit_findings;
}

}  // namespace cprewind::cli

// `cprewind diff`: what changed between two moments.
#include <fmt/format.h>

#include "base/error.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/json_text.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "cli/subject.h"
#include "inspect/diff.h"
#include "inspect/layer_diff.h"

namespace cprewind::cli {

const char* const k_diff_help = R"(Examples:
  cprewind diff web@1 web@2               processes, open files, memory and files
  cprewind diff web@1 web@2 mem           one of them, in detail
  cprewind diff ./before ./after          two directories of CRIU images, or archives of them

Usage: cprewind diff A B [ps|fds|mem|files]

Exit status: 0 nothing differs, 1 something does, 2 trouble.)";

namespace {

using base::escape;

std::string describe(const std::vector<inspect::FieldChange>& changes) {
    std::vector<std::string> parts;
    for (const inspect::FieldChange& change : changes) {
        parts.push_back(
            fmt::format("{} {} -> {}", change.field, escape(change.before), escape(change.after)));
    }
    return base::join(parts, ", ");
}

Json changes_json(const std::vector<inspect::FieldChange>& changes) {
    Json list = Json::array();
    for (const inspect::FieldChange& change : changes) {
        Json item;
        item["field"] = change.field;
        put_bytes(item, "before", change.before);
        put_bytes(item, "after", change.after);
        list.push_back(std::move(item));
    }
    return list;
}

const char* name_of(inspect::ProcessFate fate) {
    switch (fate) {
        case inspect::ProcessFate::same:
            return "changed";
        case inspect::ProcessFate::added:
            return "added";
        case inspect::ProcessFate::gone:
            return "gone";
        case inspect::ProcessFate::execed:
            return "exec";
    }
    return "changed";
}

const char* name_of(inspect::FdFate fate) {
    switch (fate) {
        case inspect::FdFate::opened:
            return "opened";
        case inspect::FdFate::closed:
            return "closed";
        case inspect::FdFate::changed:
            return "changed";
    }
    return "changed";
}

const char* name_of(inspect::MappingFate fate) {
    switch (fate) {
        case inspect::MappingFate::added:
            return "mapped";
        case inspect::MappingFate::removed:
            return "unmapped";
        case inspect::MappingFate::grown:
            return "grown";
        case inspect::MappingFate::shrunk:
            return "shrunk";
        case inspect::MappingFate::protection:
            return "protection";
        case inspect::MappingFate::replaced:
            return "replaced";
    }
    return "replaced";
}

const char* name_of(inspect::LayerFate fate) {
    switch (fate) {
        case inspect::LayerFate::added:
            return "added";
        case inspect::LayerFate::removed:
            return "removed";
        case inspect::LayerFate::changed:
            return "changed";
    }
    return "changed";
}

// What one subject of the comparison found: a headline, lines of detail, JSON, and whether anything differs.
struct Section {
    bool same = true;
    std::string headline;
    std::vector<std::string> lines;
    std::vector<std::string> details;  // shown instead of `lines` in the view of its own, when there are any
    Json json;
};

Section diff_ps(const Subject& a, const Subject& b) {
    inspect::ProcessDiff diff = inspect::diff_processes(a.checkpoint, b.checkpoint);
    Section section{diff.same(), {}, {}, {}, Json::object()};
    Json list = Json::array();
    uint64_t counts[4] = {};
    for (const inspect::ProcessChange& change : diff.changes) {
        ++counts[static_cast<size_t>(change.fate)];
        section.lines.push_back(fmt::format("{:<7} {} {}{}{}", name_of(change.fate), change.pid.value,
                                            escape(change.comm), change.changes.empty() ? "" : ": ",
                                            describe(change.changes)));
        Json item;
        item["fate"] = name_of(change.fate);
        item["pid"] = change.pid.value;
        put_bytes(item, "comm", change.comm);
        put_bytes(item, "executable", change.executable);
        item["changes"] = changes_json(change.changes);
        list.push_back(std::move(item));
    }
    section.headline = fmt::format("{} added, {} gone, {} replaced by exec, {} changed, {} unchanged",
                                   counts[1], counts[2], counts[3], counts[0], diff.unchanged);
    section.json["changes"] = std::move(list);
    section.json["unchanged"] = diff.unchanged;
    return section;
}

Section diff_fds(const Subject& a, const Subject& b) {
    inspect::FdDiff diff = inspect::diff_fds(a.checkpoint, b.checkpoint);
    Section section{diff.same(), {}, {}, {}, Json::object()};
    Json list = Json::array();
    uint64_t counts[3] = {};
    for (const inspect::FdChange& change : diff.changes) {
        ++counts[static_cast<size_t>(change.fate)];
        section.lines.push_back(fmt::format("{:<7} {} {} fd {} {} {}{}{}", name_of(change.fate),
                                            change.pid.value, escape(change.comm), change.fd,
                                            images::name_of(change.kind), escape(change.target),
                                            change.changes.empty() ? "" : ": ", describe(change.changes)));
        Json item;
        item["fate"] = name_of(change.fate);
        item["pid"] = change.pid.value;
        put_bytes(item, "comm", change.comm);
        item["fd"] = change.fd;
        item["kind"] = images::name_of(change.kind);
        put_bytes(item, "target", change.target);
        item["changes"] = changes_json(change.changes);
        list.push_back(std::move(item));
    }
    section.headline = fmt::format("{} opened, {} closed, {} changed, {} unchanged", counts[0], counts[1],
                                   counts[2], diff.unchanged);
    section.json["changes"] = std::move(list);
    section.json["unchanged"] = diff.unchanged;
    return section;
}

std::string page_text(const inspect::PageChanges& pages) {
    std::string text = fmt::format("{} changed, {} new, {} gone, {} zeroed, {} equal", pages.changed,
                                   pages.added, pages.gone, pages.zeroed, pages.equal);
    if (pages.unknown > 0) text += fmt::format(", {} not comparable", pages.unknown);
    return text;
}

Json pages_json(const inspect::PageChanges& pages) {
    return {{"equal", pages.equal}, {"changed", pages.changed}, {"new", pages.added},
            {"gone", pages.gone},   {"zeroed", pages.zeroed},   {"unknown", pages.unknown}};
}

std::string range_text(images::AddressRange range) {
    return range.end == 0 ? "-" : fmt::format("{:012x}-{:012x}", range.start, range.end);
}

Json range_json(images::AddressRange range) {
    if (range.end == 0) return {};
    return {{"start", hex_number(range.start)}, {"end", hex_number(range.end)}};
}

void add_mappings(const inspect::ProcessMemoryDiff& process, Section& section, Json& item) {
    Json mappings = Json::array();
    for (const inspect::MappingChange& change : process.mappings) {
        section.details.push_back(fmt::format("  {:<10} {} {} -> {} {} {} {}", name_of(change.fate),
                                              range_text(change.before), change.protection_before,
                                              range_text(change.after), change.protection_after, change.kind,
                                              escape(change.path)));
        Json entry;
        entry["fate"] = name_of(change.fate);
        entry["kind"] = change.kind;
        put_bytes(entry, "path", change.path);
        entry["before"] = range_json(change.before);
        entry["after"] = range_json(change.after);
        entry["protection_before"] = change.protection_before;
        entry["protection_after"] = change.protection_after;
        mappings.push_back(std::move(entry));
    }
    Json by_mapping = Json::array();
    for (const inspect::MappingPages& pages : process.by_mapping) {
        section.details.push_back(fmt::format("  pages      {} {} {}: {}", range_text(pages.range),
                                              pages.kind, escape(pages.path), page_text(pages.pages)));
        Json entry;
        entry["range"] = range_json(pages.range);
        entry["kind"] = pages.kind;
        put_bytes(entry, "path", pages.path);
        entry["pages"] = pages_json(pages.pages);
        by_mapping.push_back(std::move(entry));
    }
    item["mappings"] = std::move(mappings);
    item["by_mapping"] = std::move(by_mapping);
}

Section diff_mem(const Subject& a, const Subject& b, Context& context, images::Findings& findings) {
    Progress progress(!context.json);
    inspect::MemoryDiff diff =
        inspect::diff_memory(a.moment(), b.moment(),
                             [&](uint64_t done, uint64_t total) { progress.show("comparing", done, total); });
    progress.clear();
    findings.insert(findings.end(), diff.findings.begin(), diff.findings.end());
    Section section{diff.same(), {}, {}, {}, Json::object()};
    Json list = Json::array();
    for (const inspect::ProcessMemoryDiff& process : diff.processes) {
        if (process.same()) continue;
        const char* side = process.only_in_a   ? " (only in the first)"
                           : process.only_in_b ? " (only in the second)"
                                               : "";
        section.lines.push_back(fmt::format("{} {}{}: {}", process.pid.value, escape(process.comm), side,
                                            page_text(process.pages)));
        section.details.push_back(section.lines.back());
        Json item;
        item["pid"] = process.pid.value;
        put_bytes(item, "comm", process.comm);
        item["only_in"] = process.only_in_a ? Json("a") : process.only_in_b ? Json("b") : Json();
        item["page_size"] = process.page_size;
        item["pages"] = pages_json(process.pages);
        add_mappings(process, section, item);
        list.push_back(std::move(item));
    }
    section.headline = fmt::format("{} differ; pages: {}", base::human_bytes(diff.total_different_bytes),
                                   page_text(diff.total));
    section.json["different_bytes"] = diff.total_different_bytes;
    section.json["pages"] = pages_json(diff.total);
    section.json["shared_pages"] = pages_json(diff.shared);
    section.json["processes"] = std::move(list);
    return section;
}

std::string layer_line(const inspect::LayerChange& change) {
    std::vector<std::string> sides;
    if (change.type_changed) sides.emplace_back("type");
    if (change.content) sides.emplace_back("content");
    if (change.metadata) sides.emplace_back("metadata");
    std::string sizes;
    if (change.size_before != change.size_after) {
        sizes = fmt::format(" {} -> {} bytes", change.size_before, change.size_after);
    }
    return fmt::format("{:<7} /{}{}{}{}", name_of(change.fate), escape(change.path),
                       change.is_whiteout ? " (deleted)" : "",
                       sides.empty() ? "" : ": " + base::join(sides, ", "), sizes);
}

Section diff_files(const Subject& a, const Subject& b) {
    Section section;
    if (!a.layer || !b.layer) {
        section.headline = fmt::format("not compared: {} has no writable layer", a.layer ? b.name : a.name);
        return section;
    }
    inspect::LayerDiff diff = inspect::diff_layers(*a.layer, *b.layer);
    section.same = diff.same();
    section.json = Json::object();
    Json list = Json::array();
    uint64_t counts[3] = {};
    for (const inspect::LayerChange& change : diff.changes) {
        ++counts[static_cast<size_t>(change.fate)];
        section.lines.push_back(layer_line(change));
        Json item;
        item["fate"] = name_of(change.fate);
        put_bytes(item, "path", "/" + change.path);
        item["type"] = change.is_whiteout ? "whiteout" : images::name_of(change.type);
        item["content"] = change.content;
        item["metadata"] = change.metadata;
        item["type_changed"] = change.type_changed;
        item["size_before"] = change.size_before;
        item["size_after"] = change.size_after;
        list.push_back(std::move(item));
    }
    section.headline = fmt::format("{} added, {} removed, {} changed, {} unchanged", counts[0], counts[1],
                                   counts[2], diff.unchanged);
    section.json["changes"] = std::move(list);
    section.json["unchanged"] = diff.unchanged;
    section.json["bytes_added"] = diff.bytes_added;
    section.json["bytes_removed"] = diff.bytes_removed;
    return section;
}

// In the summary each subject shows this many lines at most; the view of its own shows all.
constexpr size_t k_summary_lines = 6;

void print_section(Output& output, const char* title, const char* view, const Section& section, bool whole,
                   const std::string& command) {
    Colour colour = section.same ? Colour::dim : Colour::yellow;
    output.line(fmt::format("{} {}", output.paint(Colour::bold, fmt::format("{:<10}", title)),
                            output.paint(colour, section.headline)));
    if (whole) {
        for (const std::string& line : section.details.empty() ? section.lines : section.details)
            output.line("  " + line);
        return;
    }
    size_t shown = std::min(section.lines.size(), k_summary_lines);
    for (size_t i = 0; i < shown; ++i) output.line("  " + section.lines[i]);
    if (shown < std::max(section.lines.size(), section.details.size())) {
        output.line(output.paint(Colour::dim, fmt::format("  … in detail: {} {}", command, view)));
    }
}

}  // namespace

int run_diff(Context& context, const std::vector<std::string>& arguments) {
    Parsed parsed = parse_words(arguments, po::options_description(), 2, 3, "A B");
    std::string only = parsed.words.size() > 2 ? parsed.words[2] : "";
    const std::vector<std::string> names = {"ps", "fds", "mem", "files"};
    if (!only.empty() && std::find(names.begin(), names.end(), only) == names.end()) {
        std::string hint = base::did_you_mean(only, names);
        throw base::Error(base::ErrorKind::usage, fmt::format("diff has no view '{}'", escape(only)),
                          hint.empty() ? "the views are: ps, fds, mem, files" : hint);
    }
    Subject a = open_subject(context, parsed.words[0]);
    Subject b = open_subject(context, parsed.words[1]);
    images::Findings findings = a.checkpoint.findings;
    findings.insert(findings.end(), b.checkpoint.findings.begin(), b.checkpoint.findings.end());

    Json document;
    document["a"] = a.name;
    document["b"] = b.name;
    bool same = true;
    std::string command =
        fmt::format("cprewind diff {} {}", escape(parsed.words[0]), escape(parsed.words[1]));
    if (!context.json) {
        context.output.line(fmt::format("{} -> {}", context.output.paint(Colour::bold, a.name),
                                        context.output.paint(Colour::bold, b.name)));
    }
    auto take = [&](const char* view, const char* title, const char* key, auto&& compare) {
        if (!only.empty() && only != view) {
            document[key] = nullptr;
            return;
        }
        Section section = compare();
        same = same && section.same;
        document[key] = section.json;
        if (!context.json) print_section(context.output, title, view, section, !only.empty(), command);
    };
    take("ps", "processes", "processes", [&] { return diff_ps(a, b); });
    take("fds", "open files", "fds", [&] { return diff_fds(a, b); });
    take("mem", "memory", "memory", [&] { return diff_mem(a, b, context, findings); });
    take("files", "files", "files", [&] { return diff_files(a, b); });
    document["same"] = same;
    document["findings"] = findings_json(findings);
    if (context.json) {
        context.output.json(document);
    } else {
        print_findings(context.output, findings);
    }
    return same ? exit_done : exit_different;
}

}  // namespace cprewind::cli

// The parts about processes, open files, threads and what they live in.
#include "cli/diff_sections.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "base/text.h"
#include "cli/json_text.h"
#include "cli/stacks_view.h"
#include "engine/snapshot_files.h"

namespace cprewind::cli {

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

}  // namespace

namespace {

Json process_json(const inspect::ProcessChange& change, const char* fate) {
    Json item;
    item["fate"] = fate;
    item["pid"] = change.pid.value;
    item["ppid"] = change.ppid.value;
    put_bytes(item, "comm", change.comm);
    put_bytes(item, "executable", change.executable);
    put_bytes(item, "arguments", change.arguments);
    put_bytes(item, "environment", change.environment);
    item["changes"] = changes_json(change.changes);
    return item;
}

std::string process_line(const inspect::ProcessChange& change, const char* fate, const std::string& indent) {
    std::string line = fmt::format("{:<7} {}{} {}", fate, indent, change.pid.value, escape(change.comm));
    bool told = change.fate == inspect::ProcessFate::added || change.fate == inspect::ProcessFate::gone ||
                change.changes.empty();
    if (told && !change.arguments.empty()) line += ": " + escape(base::join(change.arguments, " "));
    if (!change.changes.empty()) line += ": " + describe(change.changes);
    return line;
}

// All processes of the later side as the tree that they are, with what became of each, and those that are gone.
std::vector<std::string> process_tree(const inspect::ProcessDiff& diff, const images::Checkpoint& later) {
    std::map<images::DumpPid, std::pair<const inspect::ProcessChange*, const char*>> there;
    for (const inspect::ProcessChange& change : diff.same_ones) there[change.pid] = {&change, "same"};
    for (const inspect::ProcessChange& change : diff.changes) {
        if (change.fate != inspect::ProcessFate::gone) there[change.pid] = {&change, name_of(change.fate)};
    }
    std::vector<std::string> lines;
    auto add = [&](const inspect::ProcessChange& change, const char* fate, const std::string& indent) {
        lines.push_back(process_line(change, fate, indent));
        for (const std::string& variable : change.environment)
            lines.push_back(fmt::format("{:<7} {}  {}", "", indent, escape(variable)));
    };
    constexpr size_t k_deepest = 40;
    std::map<images::DumpPid, size_t> depths;
    for (const images::Process& process : later.processes) {
        auto parent = depths.find(process.ppid);
        size_t depth = parent == depths.end() ? 0 : parent->second + 1;
        depths[process.pid] = depth;
        auto found = there.find(process.pid);
        if (found == there.end()) continue;
        add(*found->second.first, found->second.second, std::string(2 * std::min(depth, k_deepest), ' '));
    }
    for (const inspect::ProcessChange& change : diff.changes) {
        if (change.fate == inspect::ProcessFate::gone) add(change, "gone", "");
    }
    return lines;
}

std::string fd_line(const inspect::FdChange& change, const char* fate) {
    return fmt::format("{:<7} {} {} fd {} {} {}{}{}", fate, change.pid.value, escape(change.comm), change.fd,
                       images::name_of(change.kind), escape(change.target),
                       change.changes.empty() ? "" : ": ", describe(change.changes));
}

Json fd_json(const inspect::FdChange& change, const char* fate) {
    Json item;
    item["fate"] = fate;
    item["pid"] = change.pid.value;
    put_bytes(item, "comm", change.comm);
    item["fd"] = change.fd;
    item["kind"] = images::name_of(change.kind);
    put_bytes(item, "target", change.target);
    item["changes"] = changes_json(change.changes);
    return item;
}

template <typename Change>
void keep_process(std::vector<Change>& changes, const DiffRequest& request) {
    if (!request.pid) return;
    std::erase_if(changes, [&](const Change& change) { return change.pid.value != *request.pid; });
}

}  // namespace

Section section_ps(Context&, const DiffRequest& request, images::Findings& findings) {
    inspect::ProcessDiff diff =
        inspect::diff_processes(request.a.moment(), request.b.moment(), request.reused);
    for (images::Finding& finding : diff.findings) images::add_finding(findings, std::move(finding));
    keep_process(diff.changes, request);
    keep_process(diff.same_ones, request);
    Section section{diff.same(), {}, {}, {}, Json::object()};
    Json list = Json::array(), same = Json::array();
    uint64_t counts[4] = {};
    for (const inspect::ProcessChange& change : diff.changes) {
        ++counts[static_cast<size_t>(change.fate)];
        section.lines.push_back(process_line(change, name_of(change.fate), ""));
        list.push_back(process_json(change, name_of(change.fate)));
    }
    if (request.unchanged) {
        for (const inspect::ProcessChange& change : diff.same_ones)
            same.push_back(process_json(change, "same"));
        section.lines = process_tree(diff, request.b.checkpoint);
    }
    section.headline = fmt::format("{} added, {} gone, {} replaced by exec, {} changed, {} unchanged",
                                   counts[1], counts[2], counts[3], counts[0], diff.unchanged);
    section.json["changes"] = std::move(list);
    section.json["unchanged"] = diff.unchanged;
    section.json["same"] = request.unchanged ? std::move(same) : Json();
    return section;
}

Section section_fds(Context&, const DiffRequest& request, images::Findings& findings) {
    inspect::FdDiff diff =
        inspect::diff_fds(request.a.moment(), request.b.moment(), request.reused, request.renumbered);
    for (images::Finding& finding : diff.findings) images::add_finding(findings, std::move(finding));
    keep_process(diff.changes, request);
    keep_process(diff.same_ones, request);
    keep_process(diff.with_processes, request);
    Section section{diff.same(), {}, {}, {}, Json::object()};
    Json list = Json::array(), same = Json::array(), with_processes = Json::array();
    uint64_t counts[3] = {};
    for (const inspect::FdChange& change : diff.changes) {
        ++counts[static_cast<size_t>(change.fate)];
        section.lines.push_back(fd_line(change, name_of(change.fate)));
        list.push_back(fd_json(change, name_of(change.fate)));
    }
    if (request.unchanged) {
        for (const inspect::FdChange& change : diff.same_ones) {
            section.lines.push_back(fd_line(change, "same"));
            same.push_back(fd_json(change, "same"));
        }
    }
    section.details = section.lines;
    for (const inspect::FdChange& change : diff.with_processes) {
        section.details.push_back(fd_line(change, change.fate == inspect::FdFate::opened ? "came" : "went"));
        with_processes.push_back(fd_json(change, name_of(change.fate)));
    }
    section.headline = fmt::format("{} opened, {} closed, {} changed, {} unchanged", counts[0], counts[1],
                                   counts[2], diff.unchanged);
    if (!with_processes.empty())
        section.headline += fmt::format("; {} came or went with processes", with_processes.size());
    section.json["changes"] = std::move(list);
    section.json["unchanged"] = diff.unchanged;
    section.json["same"] = request.unchanged ? std::move(same) : Json();
    section.json["with_processes"] = std::move(with_processes);
    return section;
}

Section section_threads(Context& context, const DiffRequest& request, images::Findings& findings) {
    inspect::ThreadDiff diff =
        inspect::diff_threads(request.a.checkpoint, request.b.checkpoint, request.reused);
    Section section{true, {}, {}, {}, Json::object()};  // standing still is no difference
    Json list = Json::array();
    ThreadIds still;
    for (const inspect::StillThread& thread : diff.still) {
        if (request.pid && thread.pid.value != *request.pid) continue;
        still.emplace(thread.pid, thread.tid);
        section.lines.push_back(fmt::format("still   {} {} {} at {:#x} {}", thread.pid.value,
                                            thread.tid.value, escape(thread.comm), thread.instruction,
                                            escape(thread.where)));
        Json item;
        item["pid"] = thread.pid.value;
        item["tid"] = thread.tid.value;
        put_bytes(item, "comm", thread.comm);
        item["instruction"] = hex_number(thread.instruction);
        put_bytes(item, "where", thread.where);
        list.push_back(std::move(item));
    }
    section.headline = fmt::format("{} stand where they stood, {} moved", list.size(), diff.moved);
    section.json["still"] = std::move(list);
    section.json["moved"] = diff.moved;
    section.json["stacks"] = nullptr;
    if (request.stacks) {
        // Whichever side: their registers are the same. Of the later one, since its memory is what holds now.
        StacksShown shown = stacks_of(context, request.b, still, request.sysroot, findings);
        section.details = section.lines;
        section.details.insert(section.details.end(), shown.lines.begin(), shown.lines.end());
        section.json["stacks"] = std::move(shown.json);
    }
    return section;
}

Section section_system(Context&, const DiffRequest& request, images::Findings& findings) {
    auto description = [](const Subject& subject) {
        return images::read_whole(*subject.files, engine::k_container_file);
    };
    auto before = description(request.a), after = description(request.b);
    inspect::SystemDiff diff = inspect::diff_system(request.a.moment(), request.b.moment(), before.get(),
                                                    after.get(), request.reused);
    for (images::Finding& finding : diff.findings) images::add_finding(findings, std::move(finding));
    Section section{diff.same(), {}, {}, {}, Json::object()};
    for (const inspect::FieldChange& change : diff.changes) section.lines.push_back(describe({change}));
    section.headline =
        fmt::format("{} changed, {} mounts unchanged", diff.changes.size(), diff.mounts_unchanged);
    if (!diff.container_compared) section.headline += "; no description of the container to compare";
    section.json["changes"] = changes_json(diff.changes);
    section.json["mounts_unchanged"] = diff.mounts_unchanged;
    section.json["container_compared"] = diff.container_compared;
    return section;
}

}  // namespace cprewind::cli

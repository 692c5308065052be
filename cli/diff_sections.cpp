// The parts about processes, open files, threads and what they live in.
#include "cli/diff_sections.h"

#include <fmt/format.h>

#include "base/text.h"
#include "cli/json_text.h"
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

Section section_ps(Context&, const DiffRequest& request, images::Findings& findings) {
    inspect::ProcessDiff diff = inspect::diff_processes(request.a.moment(), request.b.moment());
    for (images::Finding& finding : diff.findings) images::add_finding(findings, std::move(finding));
    if (request.pid) {
        std::erase_if(diff.changes,
                      [&](const inspect::ProcessChange& change) { return change.pid.value != *request.pid; });
    }
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

Section section_fds(Context&, const DiffRequest& request, images::Findings&) {
    inspect::FdDiff diff = inspect::diff_fds(request.a.checkpoint, request.b.checkpoint);
    if (request.pid) {
        std::erase_if(diff.changes,
                      [&](const inspect::FdChange& change) { return change.pid.value != *request.pid; });
    }
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

Section section_threads(Context&, const DiffRequest& request, images::Findings&) {
    inspect::ThreadDiff diff = inspect::diff_threads(request.a.checkpoint, request.b.checkpoint);
    Section section{true, {}, {}, {}, Json::object()};  // standing still is no difference
    Json list = Json::array();
    for (const inspect::StillThread& thread : diff.still) {
        if (request.pid && thread.pid.value != *request.pid) continue;
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
    return section;
}

Section section_system(Context&, const DiffRequest& request, images::Findings& findings) {
    auto description = [](const Subject& subject) {
        return images::read_whole(*subject.files, engine::k_container_file);
    };
    auto before = description(request.a), after = description(request.b);
    inspect::SystemDiff diff =
        inspect::diff_system(request.a.checkpoint, request.b.checkpoint, before.get(), after.get());
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

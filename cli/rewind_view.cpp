#include "cli/rewind_view.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "cli/json_text.h"
#include "cli/record_view.h"

namespace cprewind::cli {
namespace {

using base::escape;

// So many lines of a list, unless all are wanted.
constexpr size_t k_shown = 10;

std::string change_summary(const std::vector<engine::LayerChange>& changes) {
    uint64_t written = 0;
    uint64_t bytes = 0;
    uint64_t metadata = 0;
    uint64_t removed = 0;
    for (const engine::LayerChange& change : changes) {
        switch (change.kind) {
            case engine::LayerChange::Kind::create:
            case engine::LayerChange::Kind::replace:
                ++written;
                break;
            case engine::LayerChange::Kind::metadata:
                ++metadata;
                break;
            case engine::LayerChange::Kind::remove:
                ++removed;
                break;
        }
        bytes += change.bytes;
    }
    std::vector<std::string> parts;
    if (written > 0) {
        parts.push_back(
            fmt::format("{} put back ({})", base::counted(written, "file"), base::human_bytes(bytes)));
    }
    if (removed > 0) parts.push_back(fmt::format("{} removed", base::counted(removed, "file")));
    if (metadata > 0) parts.push_back(fmt::format("times or modes of {} put back", metadata));
    return parts.empty() ? "no file differed" : base::join(parts, ", ");
}

const char* kind_name(engine::LayerChange::Kind kind) {
    switch (kind) {
        case engine::LayerChange::Kind::create:
            return "create";
        case engine::LayerChange::Kind::replace:
            return "replace";
        case engine::LayerChange::Kind::metadata:
            return "metadata";
        case engine::LayerChange::Kind::remove:
            return "remove";
    }
    return "?";
}

// A command line as one would type it, roughly.
std::string command_line(std::string arguments) {
    while (arguments.ends_with('\0')) arguments.pop_back();
    for (char& c : arguments) {
        if (c == '\0') c = ' ';
    }
    return escape(arguments);
}

std::string more(size_t all, size_t shown) {
    return fmt::format("    and {} more (-v shows all)", all - shown);
}

Json connection_json(const engine::Connection& connection) {
    Json item;
    item["pid"] = connection.pid == 0 ? Json() : Json(connection.pid);
    put_bytes(item, "comm", connection.comm);
    item["local"] = connection.local;
    item["remote"] = connection.remote;
    item["state"] = connection.state;
    return item;
}

std::string check_sentence(const engine::RunningCheck& check) {
    std::vector<std::string> since;
    if (check.ended > 0)
        since.push_back(fmt::format("{} ended", base::counted(check.ended, "process", "processes")));
    if (check.changed > 0) {
        since.push_back(
            fmt::format("{} became another program", base::counted(check.changed, "process", "processes")));
    }
    if (check.pages_written > 0)
        since.push_back(fmt::format("{} written", base::counted(check.pages_written, "page")));
    if (check.files_written > 0)
        since.push_back(fmt::format("{} changed", base::counted(check.files_written, "file")));
    return fmt::format("verified: {} of {}, {} of memory, the writable layer{}", check.same,
                       base::counted(check.processes, "process", "processes"),
                       base::counted(check.pages, "page"),
                       since.empty() ? "" : "; since then " + base::join(since, ", "));
}

}  // namespace

void print_plan(Output& output, const std::string& container, const engine::RewindPlan& plan, bool all) {
    output.line(fmt::format(
        "would bring {} back to {} ({}); nothing was touched", output.paint(Colour::bold, escape(container)),
        output.paint(Colour::bold, plan.target.name()), base::local_time(plan.target.info.taken_at)));
    if (plan.recreates) output.line("  as a new container of the same name and configuration");
    output.line(plan.takes_safety ? "  a safety snapshot of now is taken first"
                                  : "  no safety snapshot is taken");
    auto list = [&](size_t count, const std::string& head, const auto& line_of) {
        output.line("  " + head);
        size_t shown = all ? count : std::min(count, k_shown);
        for (size_t i = 0; i < shown; ++i) output.line("    " + line_of(i));
        if (shown < count) output.line(more(count, shown));
    };
    list(plan.killed.size(), base::counted(plan.killed.size(), "process is", "processes are") + " killed",
         [&](size_t i) {
             const engine::DyingProcess& process = plan.killed[i];
             std::string words = command_line(process.arguments);
             return fmt::format("{} ({} inside)  {}", process.pid, process.inside,
                                words.empty() ? "[" + escape(process.comm) + "]" : words);
         });
    list(plan.come_back.size(),
         base::counted(plan.come_back.size(), "process comes", "processes come") + " back",
         [&](size_t i) { return command_line(plan.come_back[i]); });
    list(plan.files.size(), change_summary(plan.files), [&](size_t i) {
        return fmt::format("{:<8}  /{}", kind_name(plan.files[i].kind), escape(plan.files[i].path));
    });
    auto connection_line = [](const engine::Connection& connection) {
        return fmt::format(
            "{} -> {} {}{}", connection.local, connection.remote, connection.state,
            connection.pid == 0 ? "" : fmt::format("  ({} {})", connection.pid, escape(connection.comm)));
    };
    list(plan.closing.size(),
         base::counted(plan.closing.size(), "TCP connection closes", "TCP connections close"),
         [&](size_t i) { return connection_line(plan.closing[i]); });
    if (!plan.come_back_closed.empty()) {
        list(plan.come_back_closed.size(),
             base::counted(plan.come_back_closed.size(), "TCP connection of the snapshot comes",
                           "TCP connections of the snapshot come") +
                 " back closed",
             [&](size_t i) { return connection_line(plan.come_back_closed[i]); });
    }
}

Json plan_json(const engine::RewindPlan& plan) {
    Json document;
    document["dry_run"] = true;
    document["target"] = record_json(plan.target);
    document["via"] = plan.via == engine::Via::api ? "api" : "runtime";
    document["recreates"] = plan.recreates;
    document["running"] = plan.running;
    document["takes_safety"] = plan.takes_safety;
    document["killed"] = Json::array();
    for (const engine::DyingProcess& process : plan.killed) {
        Json item;
        item["pid"] = process.pid;
        item["inside_pid"] = process.inside;
        put_bytes(item, "comm", process.comm);
        put_bytes(item, "arguments", process.arguments);
        document["killed"].push_back(item);
    }
    document["come_back"] = Json::array();
    for (const std::string& arguments : plan.come_back) {
        Json item;
        put_bytes(item, "arguments", arguments);
        document["come_back"].push_back(item);
    }
    document["files"] = Json::array();
    uint64_t bytes = 0;
    for (const engine::LayerChange& change : plan.files) {
        Json item;
        item["change"] = kind_name(change.kind);
        put_bytes(item, "path", change.path);
        item["written_bytes"] = change.bytes;
        bytes += change.bytes;
        document["files"].push_back(item);
    }
    document["files_changed"] = plan.files.size();
    document["written_bytes"] = bytes;
    document["connections_closing"] = Json::array();
    for (const engine::Connection& c : plan.closing)
        document["connections_closing"].push_back(connection_json(c));
    document["come_back_closed"] = Json::array();
    for (const engine::Connection& c : plan.come_back_closed)
        document["come_back_closed"].push_back(connection_json(c));
    return document;
}

void print_rewind(Output& output, const std::string& container, const engine::RewindResult& result) {
    if (result.recovered) output.line(escape(*result.recovered));
    output.line(
        fmt::format("{} is back at {} ({}), down for {}", output.paint(Colour::bold, escape(container)),
                    output.paint(Colour::bold, result.target.name()),
                    base::local_time(result.target.info.taken_at), base::human_duration(result.down)));
    output.line(fmt::format("  {} running; {}", base::counted(result.processes, "process", "processes"),
                            change_summary(result.layer_changes)));
    if (result.check.done) output.line("  " + check_sentence(result.check));
    if (result.recreated) output.line("  it is a new container of the same name and configuration");
    if (!result.backup_name.empty()) {
        output.line(
            fmt::format("  the old one is kept as {0}: docker rm --force {0}", escape(result.backup_name)));
    }
    for (const auto& [port, place] : result.new_ports) {
        output.line(fmt::format("  port {} is now published at {}: Docker chose it anew", escape(port),
                                escape(place)));
    }
    if (result.connections_closed) output.line("  TCP connections to the outside were closed");
    if (result.safety) {
        output.line(
            fmt::format("  to undo: cprewind rewind {} --to {}", escape(container), result.safety->name()));
    }
}

Json rewind_json(const engine::RewindResult& result) {
    auto milliseconds = [](std::chrono::nanoseconds d) {
        return std::chrono::duration<double, std::milli>(d).count();
    };
    Json document;
    document["target"] = record_json(result.target);
    document["safety"] = result.safety ? record_json(*result.safety) : Json();
    document["via"] = result.via == engine::Via::api ? "api" : "runtime";
    document["processes"] = result.processes;
    document["files_changed"] = result.layer_changes.size();
    document["new_ports"] = result.new_ports.empty() ? Json() : Json(result.new_ports);
    document["connections_closed"] = result.connections_closed;
    document["prepared_ms"] = milliseconds(result.prepared);
    document["down_ms"] = milliseconds(result.down);
    document["verified"] = Json();
    if (const engine::RunningCheck& check = result.check; check.done) {
        document["verified"] = {{"processes", check.processes},
                                {"same", check.same},
                                {"ended_since", check.ended},
                                {"changed_since", check.changed},
                                {"sampled_pages", check.pages},
                                {"pages_written_since", check.pages_written},
                                {"files_changed_since", check.files_written}};
    }
    document["recreated"] = result.recreated;
    document["backup_name"] = result.backup_name.empty() ? Json() : Json(result.backup_name);
    document["recovered"] = result.recovered ? Json(*result.recovered) : Json();
    return document;
}

}  // namespace cprewind::cli

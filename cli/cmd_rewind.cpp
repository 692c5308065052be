// `cprewind rewind`: back in time, in place.
#include <fmt/format.h>

#include <chrono>

#include "base/error.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "cli/record_view.h"
#include "cli/volume_view.h"
#include "engine/rewind.h"

namespace cprewind::cli {

const char* const k_rewind_help = R"(Examples:
  cprewind rewind web --to web@3             the third snapshot of web
  cprewind rewind web --to 'web@{10m ago}'   the last one not later than that
  cprewind rewind web --to golden            a tag

Usage: cprewind rewind CONTAINER --to SNAPSHOT [options]

Verifies the snapshot, takes a safety snapshot of now, stops the container, puts its writable layer back (only what
differs), and starts it from the snapshot's memory: same container, same id, same network; a port that was published
without a number may get another one, as at any start, and is named then. If anything fails, the container goes back to
the very state from which the rewind began. A rewind can be undone: rewind to the safety snapshot. Volumes and bind
mounts that the snapshot holds (snap --volumes) are put back as well, others are not touched, and both are named. TCP
connections to the outside are closed.

  --to SNAPSHOT   where to
  --no-safety     take no safety snapshot (a failed rewind still goes back)
  --no-volumes    leave all volumes as they are
  --via HOW       runtime, api, or auto (default): see cprewind help snap

Exit status: 0 done, 1 failed (the message says how the container stands), 2 usage.)";

namespace {

using base::escape;

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

Json volumes_json(const std::vector<engine::VolumeChange>& changes) {
    Json list = Json::array();
    for (const engine::VolumeChange& change : changes) {
        Json item = volume_json(change.volume);
        item["captured"] = change.captured;
        item["files_changed"] = change.changes.size();
        list.push_back(std::move(item));
    }
    return list;
}

void print_volumes(Output& output, const engine::RewindResult& result) {
    for (const engine::VolumeChange& change : result.volumes) {
        output.line(fmt::format("  {} at {}: {}", escape(images::title_of(change.volume)),
                                escape(change.volume.destination),
                                change.captured ? change_summary(change.changes) : "left as it is"));
    }
    if (!result.other_users.empty()) {
        output.line(fmt::format("  a volume put back is also mounted in {}, which saw it change",
                                escape(base::join(result.other_users, ", "))));
    }
}

}  // namespace

int run_rewind(Context& context, const std::vector<std::string>& arguments) {
    po::options_description options;
    options.add_options()("to", po::value<std::string>())("no-safety", "")("no-volumes", "")(
        "via", po::value<std::string>());
    Parsed parsed = parse_words(arguments, options, 1, 1, "CONTAINER");
    if (!parsed.has("to")) {
        throw base::Error(base::ErrorKind::usage, "where to? --to SNAPSHOT is missing",
                          fmt::format("cprewind log {} lists them", base::escape(parsed.words.front())));
    }
    engine::RewindRequest request;
    request.safety = !parsed.has("no-safety");
    request.volumes = !parsed.has("no-volumes");
    request.via = parse_via(parsed.text("via"));

    engine::DockerClient docker;
    auto repository = store::open_repository(context.repository, store::OpenMode::write);
    auto target = repository->resolve(parsed.text("to"), std::chrono::system_clock::now());
    Progress progress(!context.json);
    engine::RewindResult result =
        engine::rewind(docker, *repository, parsed.words.front(), target, request, progress.report());
    progress.clear();

    if (context.json) {
        auto milliseconds = [](std::chrono::nanoseconds d) {
            return std::chrono::duration<double, std::milli>(d).count();
        };
        Json document;
        document["target"] = record_json(result.target);
        document["safety"] = result.safety ? record_json(*result.safety) : Json();
        document["via"] = result.via == engine::Via::api ? "api" : "runtime";
        document["processes"] = result.processes;
        document["files_changed"] = result.layer_changes.size();
        document["volumes"] = volumes_json(result.volumes);
        document["volumes_also_used_by"] = result.other_users;
        document["new_ports"] = result.new_ports.empty() ? Json() : Json(result.new_ports);
        document["connections_closed"] = result.connections_closed;
        document["prepared_ms"] = milliseconds(result.prepared);
        document["down_ms"] = milliseconds(result.down);
        context.output.json(document);
        return exit_done;
    }
    context.output.line(fmt::format("{} is back at {} ({}), down for {}",
                                    context.output.paint(Colour::bold, base::escape(parsed.words.front())),
                                    context.output.paint(Colour::bold, result.target.name()),
                                    base::local_time(result.target.info.taken_at),
                                    base::human_duration(result.down)));
    context.output.line(fmt::format("  {} running; {}",
                                    base::counted(result.processes, "process", "processes"),
                                    change_summary(result.layer_changes)));
    print_volumes(context.output, result);
    for (const auto& [port, place] : result.new_ports) {
        context.output.line(fmt::format("  port {} is now published at {}: Docker chose it anew",
                                        escape(port), escape(place)));
    }
    if (result.connections_closed) context.output.line("  TCP connections to the outside were closed");
    if (result.safety) {
        context.output.line(fmt::format("  to undo: cprewind rewind {} --to {}",
                                        base::escape(parsed.words.front()), result.safety->name()));
    }
    return exit_done;
}

}  // namespace cprewind::cli

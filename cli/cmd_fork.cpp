// `cprewind fork`: a past moment as a container of its own.
#include "engine/fork.h"

#include <fmt/format.h>

#include "base/error.h"
#include "base/text.h"
#include "cli/moving.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "cli/record_view.h"

namespace cprewind::cli {

const char* const k_fork_help = R"(Examples:
  cprewind fork web@3 --name web-then                    beside web, which runs on; no port is published
  cprewind fork web@3 --name web-then --publish 8081:80  as docker run has it
  cprewind fork golden --name worker --count 8           worker-1 … worker-8, sharing their pages through the page cache
  cprewind fork db@latest --name try --network lab --volumes copy

Usage: cprewind fork SNAPSHOT --name NEW [options]

Makes a container from a snapshot: same container image, configuration and host name, its writable layer and its memory
as they were. The original is not touched and may be gone. An application that was snapped after its warm-up is ready to
serve at once. TCP connections to the outside are closed; addresses, fixed ones too, are new. Its timeline begins with the
snapshot. If anything fails, nothing is left behind.

  --name NEW          its name; with --count NEW-1, NEW-2, …
  --count N           so many at once; fixed ports count up
  --publish PORT, -p  [ADDRESS:][HOST_PORT:]PORT[/udp], may repeat; without it no port is published
  --publish-all, -P   all ports that the original published, at free ports of the host
  --network NET       another network than the original's
  --volumes HOW       copy (default): new volumes with what the snapshot holds of them (snap --volumes), or else a
                      copy of what is in the original's now; empty: new ones; ro: the original's, read-only; share:
                      the original's, writable. Directories of the host are mounted read-only except with share

Exit status: 0 done, 1 failed (nothing is left behind), 2 usage.)";

namespace {

using base::escape;

engine::VolumeMode parse_volumes(const std::string& text) {
    if (text.empty() || text == "copy") return engine::VolumeMode::copy;
    if (text == "ro") return engine::VolumeMode::read_only;
    if (text == "share") return engine::VolumeMode::share;
    if (text == "empty" || text == "none") return engine::VolumeMode::empty;
    throw base::Error(base::ErrorKind::usage, fmt::format("--volumes {} is not known", escape(text)),
                      "copy, ro, share or empty");
}

double milliseconds(std::chrono::nanoseconds d) {
    return std::chrono::duration<double, std::milli>(d).count();
}

Json fork_json(const engine::Forked& fork) {
    Json item;
    item["name"] = fork.name;
    item["id"] = fork.id;
    item["ip_address"] = fork.ip_address.empty() ? Json() : Json(fork.ip_address);
    item["ports"] = fork.ports;
    item["volumes"] = Json::array();
    for (const engine::ForkedVolume& volume : fork.volumes) {
        item["volumes"].push_back(
            {{"destination", volume.place}, {"original", volume.original}, {"name", volume.name}});
    }
    item["processes"] = fork.processes;
    item["took_ms"] = milliseconds(fork.took);
    return item;
}

void print_fork(Output& output, const engine::Forked& fork) {
    std::string where = fork.ip_address.empty() ? "" : " at " + escape(fork.ip_address);
    output.line(fmt::format(
        "{}  {}{}, {} running, restored in {}", output.paint(Colour::bold, fork.name), fork.id.substr(0, 12),
        where, base::counted(fork.processes, "process", "processes"), base::human_duration(fork.took)));
    for (const auto& [port, place] : fork.ports)
        output.line(fmt::format("  port {} is published at {}", escape(port), escape(place)));
    for (const engine::ForkedVolume& volume : fork.volumes) {
        output.line(fmt::format("  {} is volume {}", escape(volume.place), escape(volume.name)));
    }
}

}  // namespace

int run_fork(Context& context, const std::vector<std::string>& arguments) {
    po::options_description options;
    options.add_options()("name", po::value<std::string>())("count", po::value<unsigned>()->default_value(1))(
        "publish,p", po::value<std::vector<std::string>>())("publish-all,P", "")(
        "network", po::value<std::string>())("volumes", po::value<std::string>());
    Parsed parsed = parse_words(arguments, options, 1, 1, "SNAPSHOT");
    engine::ForkRequest request;
    request.name = parsed.text("name");
    if (request.name.empty()) {
        throw base::Error(base::ErrorKind::usage, "what shall it be called? --name NEW is missing",
                          fmt::format("cprewind fork {} --name NEW", escape(parsed.words.front())));
    }
    request.count = parsed.values["count"].as<unsigned>();
    if (parsed.has("publish")) request.publish = parsed.values["publish"].as<std::vector<std::string>>();
    request.publish_all = parsed.has("publish-all");
    if (parsed.has("network")) request.network = parsed.text("network");
    request.volumes = parse_volumes(parsed.text("volumes"));
    engine::port_bindings_of(request.publish, 0);  // before anything else: it may be wrong

    engine::DockerClient docker;
    auto repository = store::open_repository(context.repository, store::OpenMode::write);
    auto target = repository->resolve(parsed.words.front(), std::chrono::system_clock::now());
    Progress progress(!context.json);
    engine::ForkResult result = engine::fork(docker, *repository, target, request, progress.report());
    progress.clear();

    if (context.json) {
        Json document;
        document["target"] = record_json(result.target);
        document["forks"] = Json::array();
        for (const engine::Forked& fork : result.forks) document["forks"].push_back(fork_json(fork));
        document["dropped_ports"] = result.dropped_ports;
        document["read_only_directories"] = result.host_directories;
        document["connections_closed"] = result.connections_closed;
        document["prepared_ms"] = milliseconds(result.prepared);
        context.output.json(document);
        return exit_done;
    }
    for (const engine::Forked& fork : result.forks) print_fork(context.output, fork);
    context.output.line(fmt::format("  from {} ({}), read and verified in {}", result.target.name(),
                                    base::local_time(result.target.info.taken_at),
                                    base::human_duration(result.prepared)));
    for (const std::string& port : result.dropped_ports) {
        context.output.line(
            fmt::format("  port {} is not published, as it was for the original: --publish, --publish-all",
                        escape(port)));
    }
    for (const std::string& place : result.host_directories) {
        context.output.line(
            fmt::format("  {}, a directory of the host, is read-only here: --volumes share", escape(place)));
    }
    if (result.connections_closed) context.output.line("  TCP connections to the outside were closed");
    return exit_done;
}

}  // namespace cprewind::cli

// `cprewind snap`: take a snapshot of running containers.
#include <fmt/format.h>

#include "base/error.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/json_text.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "cli/record_view.h"
#include "engine/snap.h"
#include "store/reference.h"

namespace cprewind::cli {

const char* const k_snap_help = R"(Examples:
  cprewind snap web                        the container runs on; the snapshot is web@1, web@2, …
  cprewind snap web -m "before upgrade"    with a note for `cprewind log`
  cprewind snap web --tag golden           then: cprewind rewind web --to golden
  cprewind snap web --stop                 kill the container once the snapshot is safe

Usage: cprewind snap CONTAINER… [options]

A snapshot holds the memory of every process and the writable layer of one and the same moment. The container stands
still while it is taken, for about as long as copying its memory takes, and runs on whatever happens to cprewind.
Volumes and bind mounts are not part of it, nor are processes that docker exec started. A program that sleeps or waits
in the kernel at that moment may see the call interrupted (EINTR), as after a signal: CRIU cannot avoid that.

  -m, --message TEXT   a note
  --tag TAG            a name for the snapshot, may repeat (one container only)
  --stop               leave the container stopped
  --via HOW            runtime: CRIU through the container's own runtime (fast); api: through Docker's experimental
                       checkpoint; auto (default): runtime where possible

Exit status: 0 done, 1 failed (the container is as it was, nothing was stored), 2 usage, 3 done, with findings.)";

namespace {

void print_result(Output& output, const engine::SnapResult& result) {
    const store::SnapshotRecord& record = result.record;
    std::string stood = record.info.stall.count() > 0
                            ? fmt::format("stood still {}", base::human_duration(record.info.stall))
                            : "stopped";
    output.line(fmt::format("{}  {}  {}", output.paint(Colour::bold, record.name()),
                            output.paint(Colour::dim, record.id.substr(0, 12)), record_content(record)));
    output.line(fmt::format("  {}, took {}, stored in {}", stood, base::human_duration(record.info.wall),
                            base::human_bytes(record.stored_bytes)));
    if (!result.staged_in_memory) {
        output.line("  the dump did not fit into memory and went over the disk, which made the stall longer");
    }
    if (result.recovered) output.line("  " + base::escape(*result.recovered));
    if (result.left_out > 0) {
        output.line(fmt::format("  without {} that docker exec started: a rewind ends them",
                                base::counted(result.left_out, "process", "processes")));
    }
    print_findings(output, result.findings);
}

}  // namespace

int run_snap(Context& context, const std::vector<std::string>& arguments) {
    po::options_description options;
    options.add_options()("message,m", po::value<std::string>())(
        "tag", po::value<std::vector<std::string>>())("stop", "")("via", po::value<std::string>());
    Parsed parsed = parse_words(arguments, options, 1, 1000, "CONTAINER");
    engine::SnapRequest request;
    request.message = parsed.text("message");
    request.stop = parsed.has("stop");
    request.via = parse_via(parsed.text("via"));
    if (parsed.has("tag")) request.tags = parsed.values["tag"].as<std::vector<std::string>>();
    if (!request.tags.empty() && parsed.words.size() > 1) {
        throw base::Error(base::ErrorKind::usage,
                          "--tag names one snapshot, and there are several containers",
                          "snap them one by one, or tag afterwards: cprewind tag web@latest TAG");
    }

    for (const std::string& tag : request.tags) store::check_tag(tag);

    engine::DockerClient docker;
    auto repository = store::open_repository(context.repository, store::OpenMode::create);
    Progress progress(!context.json);
    Json list = Json::array();
    bool findings = false;
    // One that cannot be snapped does not keep the others from it; its error is the command's in the end.
    std::optional<base::Error> failed;
    for (const std::string& container : parsed.words) {
        try {
            engine::SnapResult result =
                engine::snap(docker, *repository, container, request, progress.report());
            progress.clear();
            findings = findings || !result.findings.empty();
            if (!context.json) {
                print_result(context.output, result);
                continue;
            }
            Json item = record_json(result.record);
            item["via"] = result.via == engine::Via::api ? "api" : "runtime";
            item["staged_in_memory"] = result.staged_in_memory;
            item["left_out_processes"] = result.left_out;
            item["recovered"] = result.recovered ? Json(*result.recovered) : Json();
            item["findings"] = findings_json(result.findings);
            list.push_back(std::move(item));
        } catch (const base::Error& error) {
            progress.clear();
            if (failed) complain(failed->message());
            failed = error;
        }
    }
    if (context.json && !(failed && list.empty())) context.output.json({{"snapshots", list}});
    if (failed) {
        context.output.flush();
        throw *failed;
    }
    return findings ? exit_findings : exit_done;
}

}  // namespace cprewind::cli

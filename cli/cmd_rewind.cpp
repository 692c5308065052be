// `cprewind rewind`: back in time, in place.
#include <fmt/format.h>

#include <chrono>

#include "base/error.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "cli/rewind_view.h"
#include "engine/rewind.h"

namespace cprewind::cli {

const char* const k_rewind_help = R"(Examples:
  cprewind rewind web --to web@3             the third snapshot of web
  cprewind rewind web --to 'web@{10m ago}'   the last one not later than that
  cprewind rewind web --to golden            a tag
  cprewind rewind web --to web@3 --dry-run   what would be killed, which files would change, which connections close

Usage: cprewind rewind CONTAINER --to SNAPSHOT [options]

Verifies the snapshot, takes a safety snapshot of now, stops the container, puts its writable layer back (only what
differs), and starts it from the snapshot's memory: same container, same id, same network; a port that was published
without a number may get another one, as at any start, and is named then. If anything fails, the container goes back to
the very state from which the rewind began; if cprewind is killed, the next cprewind command on the container sees to
that (cprewind recover). A rewind can be undone: rewind to the safety snapshot. Volumes and bind mounts are not touched.
TCP connections to the outside are closed.

When the container runs again, it is compared with the snapshot: processes, programs and command lines, a sample of
memory, the writable layer. It runs on meanwhile, so what it has changed itself since is counted, not held against it.

  --to SNAPSHOT   where to
  --dry-run       print the plan and change nothing (-v: every file)
  --no-safety     take no safety snapshot (a failed rewind still goes back)
  --no-verify     do not compare afterwards
  --recreate      for a container that cannot be restored in place, because it was not created under cprewind's runtime:
                  a new container of the same name and configuration takes its place. The old one is kept as
                  NAME-before-rewind-ID until the new one has been compared, and put back if that fails. The new one has
                  a new id, and its log begins anew
  --via HOW       runtime, api, or auto (default): see cprewind help snap

Exit status: 0 done, 1 failed (the message says how the container stands), 2 usage.)";

int run_rewind(Context& context, const std::vector<std::string>& arguments) {
    po::options_description options;
    options.add_options()("to", po::value<std::string>())("no-safety", "")("via", po::value<std::string>())(
        "dry-run", "")("no-verify", "")("recreate", "");
    Parsed parsed = parse_words(arguments, options, 1, 1, "CONTAINER");
    const std::string& container = parsed.words.front();
    if (!parsed.has("to")) {
        throw base::Error(base::ErrorKind::usage, "where to? --to SNAPSHOT is missing",
                          fmt::format("cprewind log {} lists them", base::escape(container)));
    }
    engine::RewindRequest request;
    request.safety = !parsed.has("no-safety");
    request.via = parse_via(parsed.text("via"));
    request.verify = !parsed.has("no-verify");
    request.recreate = parsed.has("recreate");
    bool dry_run = parsed.has("dry-run");

    engine::DockerClient docker;
    auto repository =
        store::open_repository(context.repository, dry_run ? store::OpenMode::read : store::OpenMode::write);
    auto target = repository->resolve(parsed.text("to"), std::chrono::system_clock::now());
    if (dry_run) {
        auto plan = engine::plan_rewind(docker, *repository, container, target, request);
        if (context.json) {
            context.output.json(plan_json(plan));
        } else {
            print_plan(context.output, container, plan, context.verbose);
        }
        return exit_done;
    }
    Progress progress(!context.json);
    engine::RewindResult result =
        engine::rewind(docker, *repository, container, target, request, progress.report());
    progress.clear();
    if (context.json) {
        context.output.json(rewind_json(result));
    } else {
        print_rewind(context.output, container, result);
    }
    return exit_done;
}

}  // namespace cprewind::cli

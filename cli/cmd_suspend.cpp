// `cprewind suspend`: before the host restarts.
#include <fmt/format.h>

#include "base/error.h"
#include "cli/moved_view.h"
#include "cli/moving.h"
#include "cli/options.h"
#include "cli/progress.h"

namespace cprewind::cli {

const char* const k_suspend_help = R"(Examples:
  cprewind suspend --all                       every running container
  cprewind suspend --all --label tier=db       those with that label (may repeat: all of them)
  cprewind suspend web db -m "kernel update"

Usage: cprewind suspend (--all | CONTAINER…) [options]

Snaps each container and stops it, so that the host or dockerd can be restarted; `cprewind resume` brings them back where
they stood, memory and files. A container that could not be restored later (created under another runtime, or with --rm)
is left running and named. What is suspended stands in the repository. packaging/cprewind-suspend.service does both at
shutdown and start of the host.

  --all             every container that runs
  --label L         only those with the label KEY or KEY=VALUE
  -m, --message M   a note for `cprewind log`

Exit status: 0 done, 1 one of them failed (it runs on; the others were suspended), 2 usage, 3 done, some were left running.)";

int run_suspend(Context& context, const std::vector<std::string>& arguments) {
    po::options_description options;
    options.add_options()("all", "")("label", po::value<std::vector<std::string>>())(
        "message,m", po::value<std::string>());
    Parsed parsed = parse_words(arguments, options, 0, 1000, "CONTAINER");
    engine::SuspendRequest request;
    request.names = parsed.words;
    request.all = parsed.has("all");
    request.message = parsed.text("message");
    if (parsed.has("label")) request.labels = parsed.values["label"].as<std::vector<std::string>>();
    if (request.all == !request.names.empty() || (!request.labels.empty() && !request.all)) {
        throw base::Error(base::ErrorKind::usage,
                          "which containers? either --all, with --label if wanted, or names",
                          "cprewind suspend --all");
    }
    engine::DockerClient docker;
    auto repository = store::open_repository(context.repository, store::OpenMode::create);
    Progress progress(!context.json);
    auto moved = engine::suspend(docker, *repository, request, progress.report());
    progress.clear();
    return print_moved(context, moved, "is suspended as");
}

}  // namespace cprewind::cli

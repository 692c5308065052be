// `cprewind resume`: after the host has restarted.
#include <filesystem>

#include "base/error.h"
#include "cli/moved_view.h"
#include "cli/moving.h"
#include "cli/options.h"
#include "cli/progress.h"

namespace cprewind::cli {

const char* const k_resume_help = R"(Examples:
  cprewind resume --all       everything that was suspended
  cprewind resume web

Usage: cprewind resume (--all | CONTAINER…)

Brings back what `cprewind suspend` stopped: each container runs on where it stood, memory and files. One that Docker has
started meanwhile (a restart policy) goes back as well, after a safety snapshot of what it had become. What fails stays
suspended and can be tried again.

Exit status: 0 done, or nothing was suspended, 1 one of them failed (the others are back), 2 usage.)";

int run_resume(Context& context, const std::vector<std::string>& arguments) {
    po::options_description options;
    options.add_options()("all", "");
    Parsed parsed = parse_words(arguments, options, 0, 1000, "CONTAINER");
    engine::SuspendRequest request;
    request.names = parsed.words;
    request.all = parsed.has("all");
    if (request.all == !request.names.empty()) {
        throw base::Error(base::ErrorKind::usage, "which containers? either --all or names",
                          "cprewind resume --all");
    }
    std::error_code ignored;
    // At the first start of a host there is no repository yet, and nothing to bring back.
    if (request.all && !std::filesystem::exists(context.repository, ignored))
        return print_moved(context, {}, "");
    engine::DockerClient docker;
    auto repository = store::open_repository(context.repository, store::OpenMode::write);
    Progress progress(!context.json);
    auto moved = engine::resume_suspended(docker, *repository, request, progress.report());
    progress.clear();
    return print_moved(context, moved, "is back at");
}

}  // namespace cprewind::cli

// `cprewind setup`: register the runtime with Docker.
#include <fmt/format.h>
#include <unistd.h>

#include <iostream>

#include "base/error.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/options.h"
#include "engine/setup.h"

namespace cprewind::cli {

const char* const k_setup_help = R"(Examples:
  cprewind setup                      shows what it will do, asks, does it
  cprewind setup --yes                without asking
  cprewind setup --default-runtime    every container created from now on can be rewound
  cprewind setup --undo               takes back what setup did

Usage: cprewind setup [options]

Registers the runtime 'cprewind' in Docker's daemon.json, keeps all else that stands there, lets dockerd validate it, and
makes dockerd reload it without a restart. Containers run under it with: docker run --runtime cprewind …

  --yes                 do not ask
  --default-runtime     also make it Docker's default
  --undo                unregister
  --config FILE         default /etc/docker/daemon.json
  --runtime-path FILE   the cprewind-runtime to register (default: the one beside this cprewind)

Exit status: 0 done or nothing to do, 1 failed (daemon.json is as it was), 2 usage.)";

namespace {

bool confirmed(Output& output) {
    if (::isatty(STDIN_FILENO) != 1) {
        throw base::Error(base::ErrorKind::usage, "there is no terminal to ask on", "add --yes");
    }
    output.line("Go on? [y/N]");
    output.flush();
    std::string answer;
    std::getline(std::cin, answer);
    return answer == "y" || answer == "Y" || answer == "yes";
}

}  // namespace

int run_setup(Context& context, const std::vector<std::string>& arguments) {
    po::options_description options;
    options.add_options()("yes", "")("default-runtime", "")("undo", "")("config", po::value<std::string>())(
        "runtime-path", po::value<std::string>());
    Parsed parsed = parse_words(arguments, options, 0, 0, "");
    engine::SetupRequest request;
    request.undo = parsed.has("undo");
    request.make_default = parsed.has("default-runtime");
    if (parsed.has("config")) request.config = parsed.text("config");
    if (!request.undo) {
        request.runtime = parsed.has("runtime-path") ? std::filesystem::path(parsed.text("runtime-path"))
                                                     : engine::find_own_runtime();
    }
    engine::SetupPlan plan = engine::plan_setup(request);
    bool change = !plan.steps.empty();
    if (!context.json) {
        context.output.line(change ? "This will:" : "Nothing to do: daemon.json already says so.");
        for (const std::string& step : plan.steps) context.output.line("  - " + step);
    }
    if (change && !parsed.has("yes") && !confirmed(context.output)) {
        context.output.line("Nothing was changed.");
        return exit_failed;
    }
    if (change) {
        engine::DockerClient docker;
        engine::apply_setup(docker, plan);
    }
    if (context.json) {
        context.output.json({{"changed", change}, {"steps", plan.steps}});
    } else if (change) {
        context.output.line(request.undo ? "Done." : "Done. Try: docker run -d --runtime cprewind …");
    }
    return exit_done;
}

}  // namespace cprewind::cli

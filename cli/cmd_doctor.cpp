// `cprewind doctor`: what this host can do.
#include <fmt/format.h>

#include "base/text.h"
#include "cli/command.h"
#include "cli/options.h"
#include "engine/doctor.h"

namespace cprewind::cli {

const char* const k_doctor_help = R"(Examples:
  cprewind doctor
  cprewind doctor --json

Usage: cprewind doctor

Looks at the kernel, CRIU, Docker, the runtime, storage, memory and the repository; says of each what it found, why it
matters, and what to do. Changes nothing.

Exit status: 0 all is well or merely limited, 1 something stands against snap or rewind, 2 usage.)";

int run_doctor(Context& context, const std::vector<std::string>& arguments) {
    parse_words(arguments, po::options_description(), 0, 0, "");
    auto checks = engine::examine_host(context.repository);
    bool bad = false;
    Json list = Json::array();
    for (const engine::Check& check : checks) {
        bad = bad || check.verdict == engine::Verdict::bad;
        if (context.json) {
            list.push_back({{"what", check.what},
                            {"verdict", engine::name_of(check.verdict)},
                            {"found", check.found},
                            {"why", check.why},
                            {"remedy", check.remedy.empty() ? Json() : Json(check.remedy)}});
            continue;
        }
        Colour colour = check.verdict == engine::Verdict::good      ? Colour::green
                        : check.verdict == engine::Verdict::limited ? Colour::yellow
                                                                    : Colour::red;
        context.output.line(fmt::format(
            "{} {}: {}", context.output.paint(colour, fmt::format("{:<7}", engine::name_of(check.verdict))),
            context.output.paint(Colour::bold, check.what), base::escape(check.found)));
        context.output.line(fmt::format("        {}", context.output.paint(Colour::dim, check.why)));
        if (!check.remedy.empty()) context.output.line(fmt::format("        -> {}", check.remedy));
    }
    if (context.json) context.output.json({{"ready", !bad}, {"checks", list}});
    return bad ? exit_failed : exit_done;
}

}  // namespace cprewind::cli

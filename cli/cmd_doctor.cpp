// `cprewind doctor`: what this host can do, and what stands against a snapshot of one container.
#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "cli/command.h"
#include "cli/options.h"
#include "engine/doctor.h"
#include "engine/doctor_container.h"

namespace cprewind::cli {

const char* const k_doctor_help = R"(Examples:
  cprewind doctor
  cprewind doctor --json
  cprewind doctor web     would a snap of web work, and what would a rewind lose?

Usage: cprewind doctor [CONTAINER]

Looks at the kernel, CRIU, Docker, the runtime, storage, memory and the repository; says of each what it found, why it
matters, and what to do. With a container it looks at its processes in /proc instead (descriptors, sockets, namespaces,
debuggers, devices, deleted files, mounts, memory) and at its configuration, and predicts what would fail or be lost, before
anything is frozen. Changes nothing.

Exit status: 0 all is well or merely limited, 1 something stands against snap or rewind, 2 usage; for a container 0 nothing
was found, 3 findings.)";

namespace {

Colour colour_of(engine::Effect effect) {
    return effect == engine::Effect::lost ? Colour::yellow : Colour::red;
}

int run_doctor_for(Context& context, const std::string& name) {
    engine::DockerClient docker;
    engine::Container container = engine::find_container(docker, name);
    auto findings = engine::examine_container(docker, container, context.repository);
    auto stands = [&](engine::Effect effect) {
        return std::any_of(findings.begin(), findings.end(),
                           [&](const auto& f) { return f.effect == effect; });
    };
    bool can_snap = !stands(engine::Effect::snap_fails);
    bool can_rewind = can_snap && !stands(engine::Effect::rewind_fails);
    if (context.json) {
        Json list = Json::array();
        for (const engine::ContainerFinding& finding : findings) {
            list.push_back({{"effect", engine::name_of(finding.effect)},
                            {"what", finding.what},
                            {"pid", finding.pid > 0 ? Json(finding.pid) : Json()},
                            {"fd", finding.fd >= 0 ? Json(finding.fd) : Json()},
                            {"found", finding.found},
                            {"will", finding.will},
                            {"remedy", finding.remedy.empty() ? Json() : Json(finding.remedy)}});
        }
        context.output.json({{"container", container.name},
                             {"id", container.id},
                             {"can_snap", can_snap},
                             {"can_rewind", can_rewind},
                             {"findings", list}});
        return findings.empty() ? exit_done : exit_findings;
    }
    for (const engine::ContainerFinding& finding : findings) {
        const char* word = finding.effect == engine::Effect::snap_fails     ? "snap fails"
                           : finding.effect == engine::Effect::rewind_fails ? "rewind fails"
                                                                            : "is lost";
        context.output.line(fmt::format(
            "{} {}: {}", context.output.paint(colour_of(finding.effect), fmt::format("{:<12}", word)),
            context.output.paint(Colour::bold, finding.what), finding.found));
        context.output.line(fmt::format("             {}", finding.will));
        if (!finding.remedy.empty()) context.output.line(fmt::format("             -> {}", finding.remedy));
    }
    context.output.line(fmt::format("{}: {}", base::escape(container.name),
                                    findings.empty() ? "nothing stands against a snap or a rewind"
                                    : can_rewind     ? "it can be snapped and rewound"
                                    : can_snap       ? "it can be snapped, not rewound in place"
                                                     : "it cannot be snapped as it is"));
    return findings.empty() ? exit_done : exit_findings;
}

}  // namespace

int run_doctor(Context& context, const std::vector<std::string>& arguments) {
    Parsed parsed = parse_words(arguments, po::options_description(), 0, 1, "CONTAINER");
    if (!parsed.words.empty()) return run_doctor_for(context, parsed.words.front());
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

// `cprewind verify`: is everything still what was stored?
#include <fmt/format.h>

#include <chrono>

#include "base/text.h"
#include "cli/command.h"
#include "cli/json_text.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "cli/subject.h"

namespace cprewind::cli {

const char* const k_verify_help = R"(Examples:
  cprewind verify                the catalog, the directory, and every stored byte
  cprewind verify web@3          one snapshot

Usage: cprewind verify [--data] [SNAPSHOT]

Reads and checks against their digests all bytes of the packs, with or without --data; changes nothing.

Exit status: 0 nothing is wrong, 1 failed, 2 usage, 3 something is.)";

int run_verify(Context& context, const std::vector<std::string>& arguments) {
    po::options_description options;
    options.add_options()("data", po::bool_switch());
    Parsed parsed = parse_words(arguments, options, 0, 1, "SNAPSHOT");
    auto repository = open_for_reading(context);
    std::optional<store::SnapshotId> only;
    if (!parsed.words.empty())
        only = repository->resolve(parsed.words.front(), std::chrono::system_clock::now()).id;
    Progress progress(!context.json);
    auto report = repository->verify(
        only, [&](uint64_t done, uint64_t total) { progress.show("verifying", done, total); });
    progress.clear();

    bool bad = false;
    Json faults = Json::array();
    for (const store::Fault& fault : report.faults) {
        bad = bad || !fault.harmless;
        Json item;
        item["snapshot"] = fault.snapshot.empty() ? Json() : Json(fault.snapshot);
        put_bytes(item, "message", fault.message);
        item["harmless"] = fault.harmless;
        faults.push_back(std::move(item));
        if (!context.json) {
            context.output.line(fmt::format("{} {}{}",
                                            context.output.paint(fault.harmless ? Colour::dim : Colour::red,
                                                                 fault.harmless ? "leftover" : "damaged"),
                                            fault.snapshot.empty() ? "" : fault.snapshot + ": ",
                                            base::escape(fault.message)));
        }
    }
    if (context.json) {
        context.output.json({{"snapshots", report.snapshots},
                             {"checked_bytes", report.bytes},
                             {"clean", !bad},
                             {"faults", faults}});
    } else {
        context.output.line(fmt::format("{} and {} checked: {}", base::counted(report.snapshots, "snapshot"),
                                        base::human_bytes(report.bytes),
                                        bad ? context.output.paint(Colour::red, "something is wrong")
                                            : context.output.paint(Colour::green, "all as stored")));
    }
    return bad ? exit_findings : exit_done;
}

}  // namespace cprewind::cli

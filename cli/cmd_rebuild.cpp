// `cprewind rebuild`: the catalog again, from the packs alone.
#include <fmt/format.h>

#include "base/text.h"
#include "cli/command.h"
#include "cli/options.h"
#include "store/rebuild.h"

namespace cprewind::cli {

const char* const k_rebuild_help = R"(Examples:
  cprewind rebuild               when catalog.db is lost or damaged

Usage: cprewind rebuild

Makes the catalog again from what the packs say of themselves; no pack is changed. The old catalog stays beside the new
one as catalog.db.old. What packs do not know is lost: tags given with `cprewind tag`, and which snapshot a container was
last rewound to. No other cprewind may be using the repository.

A pack that cannot be read is named and left out. Snapshots that have pages in it stay, if need be without their rows in
the tables of `cprewind sql`. Put the pack back from a copy and rebuild once more.

Exit status: 0 done, 1 failed, 2 usage, 3 done, but a pack is left out or a snapshot without its rows.)";

int run_rebuild(Context& context, const std::vector<std::string>& arguments) {
    parse_words(arguments, po::options_description(), 0, 0, "");
    store::RebuildReport report = store::rebuild_catalog(context.repository);
    if (context.json) {
        context.output.json({{"snapshots", report.snapshots},
                             {"unreadable", report.unreadable},
                             {"without_rows", report.without_rows}});
    } else {
        for (const std::string& pack : report.unreadable) {
            context.output.line(
                fmt::format("{} {}", context.output.paint(Colour::red, "left out"), base::escape(pack)));
        }
        for (const std::string& snapshot : report.without_rows) {
            context.output.line(
                fmt::format("{} {}", context.output.paint(Colour::yellow, "without its processes and files"),
                            base::escape(snapshot)));
        }
        context.output.line(
            fmt::format("the catalog has {} again", base::counted(report.snapshots, "snapshot")));
    }
    return report.unreadable.empty() && report.without_rows.empty() ? exit_done : exit_findings;
}

}  // namespace cprewind::cli

#include "cli/moved_view.h"

#include <fmt/format.h>

#include "base/text.h"

namespace cprewind::cli {

using Fate = engine::MovedContainer::Fate;

int print_moved(Context& context, const std::vector<engine::MovedContainer>& moved, const char* done) {
    bool skipped = false;
    bool failed = false;
    Json list = Json::array();
    for (const engine::MovedContainer& one : moved) {
        skipped = skipped || one.fate == Fate::skipped;
        failed = failed || one.fate == Fate::failed;
        if (context.json) {
            Json item;
            item["name"] = base::escape(one.name);
            item["id"] = one.id.empty() ? Json() : Json(one.id);
            item["fate"] = one.fate == Fate::moved     ? "done"
                           : one.fate == Fate::skipped ? "skipped"
                                                       : "failed";
            item["snapshot"] = one.snapshot.empty() ? Json() : Json(one.snapshot);
            item["reason"] = one.reason.empty() ? Json() : Json(one.reason);
            item["hint"] = one.hint.empty() ? Json() : Json(one.hint);
            list.push_back(item);
        } else if (one.fate == Fate::moved) {
            context.output.line(fmt::format(
                "{} {} {}", context.output.paint(Colour::bold, base::escape(one.name)), done, one.snapshot));
        } else {
            complain(fmt::format("{} {}: {}{}", base::escape(one.name),
                                 one.fate == Fate::skipped ? "was left running" : "failed", one.reason,
                                 one.hint.empty() ? "" : fmt::format(" ({})", one.hint)));
        }
    }
    if (context.json) {
        context.output.json({{"containers", list}});
    } else if (moved.empty()) {
        context.output.line("nothing to do");
    }
    return failed ? exit_failed : skipped ? exit_findings : exit_done;
}

}  // namespace cprewind::cli

#include "cli/import_checkpoint.h"

#include <fmt/format.h>

#include <filesystem>

#include "base/text.h"
#include "cli/json_text.h"
#include "cli/origin_view.h"
#include "cli/progress.h"
#include "cli/record_view.h"
#include "engine/import.h"

namespace cprewind::cli {

int import_checkpoint(Context& context, const std::string& path, const std::string& name) {
    images::OpenedSource source = images::open_source(path);
    auto repository = store::open_repository(context.repository, store::OpenMode::create);
    Progress progress(!context.json);
    // "web.tar.zst" and "/x/web/" are called "web" when nothing else tells.
    std::filesystem::path file = std::filesystem::absolute(path).lexically_normal();
    if (!file.has_filename()) file = file.parent_path();
    std::string fallback = file.filename().string();
    fallback = fallback.substr(0, fallback.find('.', 1));
    engine::ImportResult result =
        engine::import_checkpoint(*repository, source, name, fallback, progress.report());
    progress.clear();
    if (context.json) {
        Json object;
        object["snapshot"] = record_json(result.record);
        object["was_there"] = false;
        object["dropped_tags"] = Json::array();
        object["origin"] = origin_json(source.origin);
        object["verified_bytes"] = result.verified_bytes;
        object["findings"] = findings_json(result.findings);
        context.output.json(object);
    } else {
        context.output.line(fmt::format("{}  {}  {}",
                                        context.output.paint(Colour::bold, result.record.name()),
                                        context.output.paint(Colour::dim, result.record.id.substr(0, 12)),
                                        record_content(result.record)));
        context.output.line(fmt::format("  stored in {}, every byte read back",
                                        base::human_bytes(result.record.stored_bytes)));
        print_findings(context.output, result.findings);
    }
    return result.findings.empty() ? exit_done : exit_findings;
}

}  // namespace cprewind::cli

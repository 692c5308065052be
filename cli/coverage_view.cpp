#include "cli/coverage_view.h"

#include "base/text.h"
#include "cli/json_text.h"
#include "images/coverage.h"

namespace cprewind::cli {

namespace {

Json coverage_json(const images::FileCoverage& file) {
    return {{"size_bytes", file.size},
            {"understood_bytes", file.understood},
            {"decoded_bytes", file.decoded},
            {"unread_bytes", file.unread},
            {"unknown_field_bytes", file.unknown_field},
            {"unknown_file_bytes", file.unknown_file},
            {"senseless_bytes", file.senseless}};
}

std::vector<std::string> cells(std::string name, std::string kind, const images::FileCoverage& file) {
    std::vector<std::string> out = {std::move(name), std::move(kind)};
    for (uint64_t bytes : {file.size, file.understood, file.decoded, file.unread, file.unknown_field,
                           file.unknown_file, file.senseless}) {
        out.push_back(bytes == 0 ? "-" : std::to_string(bytes));
    }
    return out;
}

}  // namespace

void show_coverage(Context& context, const Subject& subject, Json& document) {
    images::Coverage coverage = images::cover(*subject.images);
    if (context.json) {
        Json files = Json::array();
        for (const images::FileCoverage& file : coverage.files) {
            Json item;
            put_bytes(item, "file", file.file);
            item["kind"] = file.kind.empty() ? Json() : Json(file.kind);
            item.update(coverage_json(file));
            files.push_back(std::move(item));
        }
        document["coverage"] = {{"files", std::move(files)}, {"total", coverage_json(coverage.total)}};
        return;
    }
    Table table({"file", "kind", "bytes", "understood", "decoded", "unread", "unknown field", "unknown file",
                 "senseless"});
    table.right({2, 3, 4, 5, 6, 7, 8});
    for (const images::FileCoverage& file : coverage.files)
        table.add(cells(base::escape(file.file), file.kind, file));
    table.add(cells("all", "", coverage.total));
    context.output.table(table);
}

}  // namespace cprewind::cli

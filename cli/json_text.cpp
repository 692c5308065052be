#include "cli/json_text.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"

namespace cprewind::cli {

void put_bytes(Json& object, const std::string& key, std::string_view bytes) {
    bool clean = base::is_utf8(bytes);
    object[key] = clean ? std::string(bytes) : base::escape(bytes);
    object[key + "_base64"] = clean ? Json() : Json(base::to_base64(bytes));
}

void put_bytes(Json& object, const std::string& key, const std::vector<std::string>& items) {
    bool clean =
        std::all_of(items.begin(), items.end(), [](const std::string& s) { return base::is_utf8(s); });
    Json texts = Json::array();
    Json encoded = Json::array();
    for (const std::string& item : items) {
        texts.push_back(clean ? item : base::escape(item));
        encoded.push_back(base::to_base64(item));
    }
    object[key] = std::move(texts);
    object[key + "_base64"] = clean ? Json() : std::move(encoded);
}

Json findings_json(const images::Findings& findings) {
    Json list = Json::array();
    for (const images::Finding& finding : findings) {
        Json item;
        item["kind"] = images::name_of(finding.kind);
        put_bytes(item, "file", finding.file);
        item["offset"] = finding.offset ? Json(*finding.offset) : Json();
        put_bytes(item, "message", finding.message);
        list.push_back(std::move(item));
    }
    return list;
}

void print_findings(Output& output, const images::Findings& findings) {
    for (const images::Finding& finding : findings) {
        std::string where = base::escape(finding.file);
        if (finding.offset) where += fmt::format(" at byte {}", *finding.offset);
        output.line(fmt::format("{} {}{}{}", output.paint(Colour::yellow, images::name_of(finding.kind)),
                                where, where.empty() ? "" : ": ", base::escape(finding.message)));
    }
}

std::string hex_number(uint64_t value) {
    return fmt::format("{:#x}", value);
}

}  // namespace cprewind::cli

#include "cli/view_tools.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"

namespace cprewind::cli {

bool wanted(const ViewRequest& request, images::DumpPid pid) {
    return !request.pid || *request.pid == pid.value;
}

std::string shell_words(const std::vector<std::string>& words) {
    std::vector<std::string> out;
    for (const std::string& each : words) {
        std::string word = base::escape(each);
        bool plain = !word.empty() && word.find_first_of(" '\"$;&|<>*?()`") == std::string::npos;
        out.push_back(plain ? word : fmt::format("'{}'", word));
    }
    return base::join(out, " ");
}

std::string some_of(const std::vector<std::string>& words, size_t limit, std::string_view separator) {
    if (words.empty()) return "-";
    std::vector<std::string> shown(
        words.begin(), words.begin() + static_cast<std::ptrdiff_t>(std::min(limit, words.size())));
    std::string text = base::join(shown, separator);
    if (words.size() > limit) text += fmt::format("{}… {} more", separator, words.size() - limit);
    return text;
}

Json holders_json(const std::vector<inspect::Holder>& holders) {
    Json list = Json::array();
    for (const inspect::Holder& holder : holders)
        list.push_back(Json{{"pid", holder.pid.value}, {"fd", holder.fd}});
    return list;
}

std::string holders_text(const std::vector<inspect::Holder>& holders, size_t limit) {
    std::vector<std::string> words;
    for (const inspect::Holder& holder : holders)
        words.push_back(fmt::format("{}/{}", holder.pid.value, holder.fd));
    return some_of(words, limit, " ");
}

Json statistics_json(const std::optional<images::DumpStatistics>& statistics) {
    if (!statistics) return {};
    Json object;
    object["freezing_us"] = statistics->freezing.count();
    object["frozen_us"] = statistics->frozen.count();
    object["memory_dump_us"] = statistics->memory_dump.count();
    object["memory_write_us"] = statistics->memory_write.count();
    object["pages_scanned"] = statistics->pages_scanned;
    object["pages_written"] = statistics->pages_written;
    object["pages_skipped_parent"] = statistics->pages_skipped_parent;
    object["pages_lazy"] = statistics->pages_lazy;
    object["shared_pages_scanned"] = statistics->shared_pages_scanned;
    object["shared_pages_written"] = statistics->shared_pages_written;
    return object;
}

std::string duration_text(uint64_t ns) {
    if (ns > static_cast<uint64_t>(INT64_MAX)) return "forever";
    return base::human_duration(std::chrono::nanoseconds(static_cast<int64_t>(ns)));
}

void append(images::Findings& findings, const images::Findings& more) {
    images::add_new_findings(findings, more);
}

}  // namespace cprewind::cli

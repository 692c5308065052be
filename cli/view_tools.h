// Small things that the views share.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/output.h"
#include "cli/views.h"
#include "inspect/holders.h"

namespace cprewind::cli {

// Whether --pid lets it through.
bool wanted(const ViewRequest& request, images::DumpPid pid);

// The value, or null.
template <typename T>
Json or_null(const std::optional<T>& value) {
    return value ? Json(*value) : Json();
}
// "-" when absent.
template <typename T>
std::string or_dash(const std::optional<T>& value) {
    return value ? std::to_string(*value) : "-";
}

// Words as a shell would need them to be told apart, escaped for the terminal.
std::string shell_words(const std::vector<std::string>& words);
// `limit` of them, then "… 12 more".
std::string some_of(const std::vector<std::string>& words, size_t limit, std::string_view separator = ",");

Json holders_json(const std::vector<inspect::Holder>& holders);
std::string holders_text(const std::vector<inspect::Holder>& holders, size_t limit = 6);

Json statistics_json(const std::optional<images::DumpStatistics>& statistics);

// Nanoseconds as people say them; UINT64_MAX is "forever".
std::string duration_text(uint64_t ns);

void append(images::Findings& findings, const images::Findings& more);

}  // namespace cprewind::cli

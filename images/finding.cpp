#include "images/finding.h"

#include <set>
#include <string_view>
#include <tuple>

namespace cprewind::images {

const char* name_of(FindingKind kind) {
    switch (kind) {
        case FindingKind::absent:
            return "absent";
        case FindingKind::empty:
            return "empty";
        case FindingKind::truncated:
            return "truncated";
        case FindingKind::damaged:
            return "damaged";
        case FindingKind::unknown:
            return "unknown";
        case FindingKind::unverified:
            return "unverified";
    }
    return "unknown";
}

void add_finding(Findings& findings, Finding finding) {
    constexpr size_t k_limit = 10'000;
    if (findings.size() >= k_limit) return;
    if (findings.size() + 1 == k_limit) finding.message += "; further findings are not listed";
    findings.push_back(std::move(finding));
}

void add_new_findings(Findings& findings, const Findings& more) {
    if (more.empty()) return;
    using Key = std::tuple<std::string_view, uint64_t, std::string_view>;
    auto key_of = [](const Finding& finding) {
        return Key(finding.file, finding.offset.value_or(UINT64_MAX), finding.message);
    };
    Findings fresh;
    {
        std::set<Key> known;  // points into both
        for (const Finding& finding : findings) known.insert(key_of(finding));
        for (const Finding& finding : more) {
            if (known.insert(key_of(finding)).second) fresh.push_back(finding);
        }
    }
    for (Finding& finding : fresh) add_finding(findings, std::move(finding));
}

}  // namespace cprewind::images

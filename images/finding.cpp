#include "images/finding.h"

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

}  // namespace cprewind::images

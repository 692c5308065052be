#include "store/retention.h"

#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <map>
#include <set>

namespace cprewind::store {
namespace {

// The hour or day of a time, as a number that differs between any two.
int64_t period_of(base::WallTime time, bool hourly) {
    auto seconds = std::chrono::floor<std::chrono::seconds>(time).time_since_epoch().count();
    std::time_t t = seconds;
    std::tm parts{};
    localtime_r(&t, &parts);
    int64_t day = int64_t{parts.tm_year} * 366 + parts.tm_yday;
    // The hour that comes twice in autumn is two.
    return hourly ? (day * 24 + parts.tm_hour) * 2 + (parts.tm_isdst > 0 ? 1 : 0) : day;
}

// What a container's rules have given out so far; records come newest first.
struct Count {
    uint64_t all = 0;
    uint64_t safety = 0;
    std::set<int64_t> hours;
    std::set<int64_t> days;
};

bool newest_of_period(std::set<int64_t>& seen, int64_t period, uint64_t most) {
    return seen.size() < most && seen.insert(period).second;
}

std::string kept_by_tag(const SnapshotInfo& info, const PrunePolicy& policy) {
    for (const std::string& wanted : policy.keep_tags) {
        for (const std::string& tag : info.tags) {
            if (wanted == "*" || wanted == tag) return fmt::format("has the tag {}", tag);
        }
    }
    return {};
}

// Why a keep rule keeps it; empty when none does. All rules count it, also when an earlier one has kept it already.
std::string kept_because(const SnapshotRecord& record, const PrunePolicy& policy, Count& count) {
    const SnapshotInfo& info = record.info;
    if (info.kind == SnapshotKind::safety) {
        if (!info.tags.empty()) return fmt::format("has the tag {}", info.tags.front());
        return count.safety++ < k_safety_kept ? fmt::format("one of the last {} for safety", k_safety_kept)
                                              : "";
    }
    if (!policy.has_keep_rule()) return "no rule is against it";
    std::vector<std::string> reasons;
    if (count.all++ < policy.keep_last)
        reasons.push_back(fmt::format("one of the last {}", policy.keep_last));
    if (newest_of_period(count.hours, period_of(info.taken_at, true), policy.keep_hourly))
        reasons.push_back("the newest of its hour");
    if (newest_of_period(count.days, period_of(info.taken_at, false), policy.keep_daily))
        reasons.push_back("the newest of its day");
    std::string tag = kept_by_tag(info, policy);
    if (!tag.empty()) reasons.push_back(tag);
    return base::join(reasons, ", ");
}

}  // namespace

std::vector<Verdict> judge(const std::vector<SnapshotRecord>& records, const PrunePolicy& policy,
                           StoredSizes sizes) {
    std::vector<Verdict> verdicts;
    for (const SnapshotRecord& record : records) verdicts.push_back({record, false, {}, 0});
    std::map<std::string, Count> counts;  // by container
    std::set<std::string> seen;
    std::vector<bool> newest(verdicts.size());
    for (size_t i = verdicts.size(); i-- > 0;) {
        Verdict& verdict = verdicts[i];
        const std::string& container = verdict.record.info.container_id;
        newest[i] = seen.insert(container).second;
        verdict.why = kept_because(verdict.record, policy, counts[container]);
        verdict.stays = !verdict.why.empty();
        if (!verdict.stays) verdict.why = "no rule keeps it";
    }
    auto go = [&](Verdict& verdict) {
        verdict.freed_bytes = sizes.of(verdict.record.id).unique;
        sizes.remove_snapshot(verdict.record.id);
    };
    for (Verdict& verdict : verdicts) {
        if (!verdict.stays) go(verdict);
    }
    for (size_t i = 0; policy.max_size && i < verdicts.size(); ++i) {
        Verdict& verdict = verdicts[i];
        if (sizes.total() <= *policy.max_size) break;
        if (!verdict.stays || newest[i] || !verdict.record.info.tags.empty()) continue;
        verdict.stays = false;
        verdict.why = "the oldest, and more is stored than may be";
        go(verdict);
    }
    return verdicts;
}

}  // namespace cprewind::store

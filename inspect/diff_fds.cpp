#include <fmt/format.h>

#include <map>

#include "inspect/diff.h"
#include "inspect/fds.h"

namespace cprewind::inspect {

namespace {

std::string number_text(const std::optional<uint64_t>& number) {
    return number ? std::to_string(*number) : "unknown";
}

std::vector<FieldChange> compare_rows(const FdRow& a, const FdRow& b) {
    std::vector<FieldChange> changes;
    auto compare = [&](const char* field, const std::string& before, const std::string& after) {
        if (before != after) changes.push_back({field, before, after});
    };
    compare("kind", images::name_of(a.kind), images::name_of(b.kind));
    compare("target", a.target, b.target);
    compare("position", number_text(a.position), number_text(b.position));
    compare("size", number_text(a.size), number_text(b.size));
    compare("flags", flag_names(a.flags), flag_names(b.flags));
    compare("close_on_exec", a.close_on_exec ? "yes" : "no", b.close_on_exec ? "yes" : "no");
    compare("deleted", a.deleted ? "yes" : "no", b.deleted ? "yes" : "no");
    return changes;
}

using Key = std::pair<images::DumpPid, uint32_t>;

std::map<Key, FdRow> rows_of(const images::Checkpoint& checkpoint) {
    std::map<Key, FdRow> rows;
    for (FdRow& row : list_fds(checkpoint)) rows.emplace(Key{row.pid, row.fd}, std::move(row));
    return rows;
}

FdChange make_change(const FdRow& row, FdFate fate) {
    return {row.pid, row.comm, row.fd, fate, row.kind, row.target, {}};
}

}  // namespace

FdDiff diff_fds(const images::Checkpoint& a, const images::Checkpoint& b) {
    FdDiff diff;
    std::map<Key, FdRow> before = rows_of(a);
    std::map<Key, FdRow> after = rows_of(b);
    std::map<images::DumpPid, bool> on_both;
    for (const images::Process& process : a.processes) {
        on_both[process.pid] = b.find_process(process.pid) != nullptr;
    }
    auto old_row = before.begin();
    auto new_row = after.begin();
    while (old_row != before.end() || new_row != after.end()) {
        bool only_old =
            new_row == after.end() || (old_row != before.end() && old_row->first < new_row->first);
        bool only_new =
            old_row == before.end() || (new_row != after.end() && new_row->first < old_row->first);
        if (only_old) {
            if (on_both[old_row->first.first])
                diff.changes.push_back(make_change(old_row->second, FdFate::closed));
            ++old_row;
        } else if (only_new) {
            if (on_both[new_row->first.first])
                diff.changes.push_back(make_change(new_row->second, FdFate::opened));
            ++new_row;
        } else {
            FdChange change = make_change(new_row->second, FdFate::changed);
            change.changes = compare_rows(old_row->second, new_row->second);
            if (change.changes.empty()) {
                ++diff.unchanged;
            } else {
                diff.changes.push_back(std::move(change));
            }
            ++old_row;
            ++new_row;
        }
    }
    return diff;
}

}  // namespace cprewind::inspect

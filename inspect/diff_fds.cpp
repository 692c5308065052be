#include <fmt/format.h>

#include <map>

#include "inspect/diff.h"
#include "inspect/fds.h"
#include "inspect/queue_text.h"

namespace cprewind::inspect {

namespace {

std::string number_text(const std::optional<uint64_t>& number) {
    return number ? std::to_string(*number) : "unknown";
}

// "pipe:[123]" as "pipe:[]".
std::string without_numbers(const std::string& target) {
    std::string out;
    for (size_t i = 0; i < target.size(); ++i) {
        out += target[i];
        if (target[i] != '[') continue;
        size_t end = target.find_first_not_of("0123456789", i + 1);
        if (end != std::string::npos && target[end] == ']') i = end - 1;
    }
    return out;
}

struct Row {
    FdRow fd;
    QueueText queue;
};

std::vector<FieldChange> compare_rows(const Row& before_row, const Row& after_row, bool renumbered) {
    const FdRow &a = before_row.fd, &b = after_row.fd;
    std::vector<FieldChange> changes;
    auto compare = [&](const char* field, const std::string& before, const std::string& after) {
        if (before != after) changes.push_back({field, before, after});
    };
    compare("kind", images::name_of(a.kind), images::name_of(b.kind));
    if (!renumbered || without_numbers(a.target) != without_numbers(b.target))
        compare("target", a.target, b.target);
    compare("position", number_text(a.position), number_text(b.position));
    compare("size", number_text(a.size), number_text(b.size));
    compare("flags", flag_names(a.flags), flag_names(b.flags));
    compare("close_on_exec", a.close_on_exec ? "yes" : "no", b.close_on_exec ? "yes" : "no");
    compare("queue", before_row.queue.in, after_row.queue.in);
    compare("send queue", before_row.queue.out, after_row.queue.out);
    compare("deleted", a.deleted ? "yes" : "no", b.deleted ? "yes" : "no");
    return changes;
}

using Key = std::pair<images::DumpPid, uint32_t>;

std::map<Key, Row> rows_of(Moment moment, images::Findings& findings) {
    std::map<Key, Row> rows;
    auto queues = queue_texts(moment, findings);
    for (FdRow& row : list_fds(moment.checkpoint)) {
        auto queue = queues.find(row.file_id);
        Key key{row.pid, row.fd};
        rows.emplace(key, Row{std::move(row), queue == queues.end() ? QueueText() : queue->second});
    }
    return rows;
}

FdChange make_change(const FdRow& row, FdFate fate) {
    return {row.pid, row.comm, row.fd, fate, row.kind, row.target, {}};
}

}  // namespace

FdDiff diff_fds(Moment a, Moment b, const PidSet& reused, bool renumbered) {
    FdDiff diff;
    std::map<Key, Row> before = rows_of(a, diff.findings);
    std::map<Key, Row> after = rows_of(b, diff.findings);
    std::map<images::DumpPid, bool> on_both;
    for (const images::Process& process : a.checkpoint.processes) {
        on_both[process.pid] = find_same(b.checkpoint, process.pid, reused) != nullptr;
    }
    auto tell = [&](const FdRow& row, FdFate fate) {
        (on_both[row.pid] ? diff.changes : diff.with_processes).push_back(make_change(row, fate));
    };
    auto old_row = before.begin();
    auto new_row = after.begin();
    while (old_row != before.end() || new_row != after.end()) {
        bool only_old =
            new_row == after.end() || (old_row != before.end() && old_row->first < new_row->first);
        bool only_new =
            old_row == before.end() || (new_row != after.end() && new_row->first < old_row->first);
        if (only_old) {
            tell(old_row->second.fd, FdFate::closed);
            ++old_row;
        } else if (only_new) {
            tell(new_row->second.fd, FdFate::opened);
            ++new_row;
        } else {
            if (!on_both[new_row->first.first]) {
                tell(old_row->second.fd, FdFate::closed);
                tell(new_row->second.fd, FdFate::opened);
                ++old_row, ++new_row;
                continue;
            }
            FdChange change = make_change(new_row->second.fd, FdFate::changed);
            change.changes = compare_rows(old_row->second, new_row->second, renumbered);
            if (change.changes.empty()) {
                ++diff.unchanged;
                diff.same_ones.push_back(std::move(change));
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

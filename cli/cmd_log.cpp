// `cprewind log`: the timeline of a container.
#include <fmt/format.h>

#include <map>
#include <set>

#include "base/text.h"
#include "cli/command.h"
#include "cli/options.h"
#include "cli/record_view.h"
#include "cli/subject.h"
#include "cli/timeline_graph.h"
#include "store/sizes.h"

namespace cprewind::cli {

const char* const k_log_help = R"(Examples:
  cprewind log             all snapshots, oldest first
  cprewind log web         those of container web; * marks the one its present state descends from
  cprewind log web --graph newest first, with the branches that rewinds and forks made
  cprewind log --sizes     how much of what is stored is each snapshot's own, and how much others use as well
  cprewind log web --json

Usage: cprewind log [CONTAINER] [--graph | --sizes]

"stored" is the pack that came with the snapshot. With --sizes, which looks into all packs, "own" is what its removal gives
back, and "shared" what it uses together with others.

"from" names the snapshot that came before on the same branch, where it is not the one listed just above: after a rewind
to web@1, the next snapshot comes from web@1. Snapshots that `rewind` took for safety are marked so.

Exit status: 0 done, 1 failed, 2 usage.)";

namespace {

struct Names {
    std::map<store::SnapshotId, std::string> by_id;
    std::set<store::SnapshotId> heads;

    std::string of(const std::optional<store::SnapshotId>& id) const {
        if (!id) return {};
        auto it = by_id.find(*id);
        return it == by_id.end() ? "(removed)" : it->second;
    }
};

Names collect_names(const store::Repository& repository, const std::vector<store::SnapshotRecord>& records) {
    Names names;
    for (const store::SnapshotRecord& record : records) {
        names.by_id[record.id] = record.name();
        if (auto head = repository.head(record.info.container_id)) names.heads.insert(*head);
    }
    return names;
}

void print_graph(Output& output, const std::vector<store::SnapshotRecord>& records, const Names& names) {
    std::vector<TimelineNode> nodes;
    for (const store::SnapshotRecord& record : records) {
        const store::SnapshotInfo& info = record.info;
        std::string text = output.paint(Colour::bold, record.name()) + "  " +
                           when(info.taken_at, std::chrono::system_clock::now());
        if (info.kind == store::SnapshotKind::safety) text += output.paint(Colour::dim, "  safety");
        if (!info.message.empty()) text += "  " + base::escape(info.message);
        for (const std::string& tag : info.tags) {
            text += output.paint(Colour::cyan, fmt::format("  [{}]", base::escape(tag)));
        }
        if (names.heads.contains(record.id)) text += output.paint(Colour::green, "  <- now");
        nodes.push_back({record.id, info.parent.value_or(""), std::move(text)});
    }
    for (const std::string& line : draw_timeline(nodes)) output.line(line);
}

void print_sizes(Output& output, const std::vector<store::SnapshotRecord>& records,
                 const store::StoredSizes& sizes) {
    Table table({"snapshot", "memory", "files", "stored", "own", "shared"});
    table.right({1, 2, 3, 4, 5});
    for (const store::SnapshotRecord& record : records) {
        store::StoredSize size = sizes.of(record.id);
        table.add({record.name(), base::human_bytes(record.info.memory_bytes),
                   base::human_bytes(record.info.layer_bytes), base::human_bytes(record.stored_bytes),
                   base::human_bytes(size.unique), base::human_bytes(size.shared)});
    }
    output.table(table);
    output.line(fmt::format("{} stored in all", base::human_bytes(sizes.total())));
}

void print_log(Output& output, const std::vector<store::SnapshotRecord>& records, const Names& names) {
    if (records.empty()) {
        output.line("no snapshots yet; take one: cprewind snap CONTAINER");
        return;
    }
    auto now = std::chrono::system_clock::now();
    Table table({"", "snapshot", "taken", "processes", "memory", "files", "stored", "stall", "from", "note"});
    table.right({3, 4, 5, 6, 7});
    std::map<std::string, store::SnapshotId> last;  // by container
    for (const store::SnapshotRecord& record : records) {
        const store::SnapshotInfo& info = record.info;
        auto& previous = last[info.container_id];
        bool jumps = info.parent ? *info.parent != previous : !previous.empty();
        previous = record.id;
        std::string note = base::escape(info.message);
        if (info.kind == store::SnapshotKind::safety) note = output.paint(Colour::dim, "safety: ") + note;
        for (const std::string& tag : info.tags)
            note += output.paint(Colour::cyan, fmt::format(" [{}]", base::escape(tag)));
        table.add({names.heads.contains(record.id) ? "*" : "", record.name(), when(info.taken_at, now),
                   std::to_string(info.process_count), base::human_bytes(info.memory_bytes),
                   base::human_bytes(info.layer_bytes), base::human_bytes(record.stored_bytes),
                   info.stall.count() > 0 ? base::human_duration(info.stall) : "-",
                   jumps ? (info.parent ? names.of(info.parent) : "(start)") : "",
                   std::string(base::trim(note))});
    }
    output.table(table);
}

}  // namespace

int run_log(Context& context, const std::vector<std::string>& arguments) {
    po::options_description options;
    options.add_options()("graph", "")("sizes", "");
    Parsed parsed = parse_words(arguments, options, 0, 1, "CONTAINER");
    auto repository = open_for_reading(context);
    std::optional<std::string_view> container;
    if (!parsed.words.empty()) container = parsed.words.front();
    auto records = repository->list(container);
    Names names = collect_names(*repository, records);
    std::optional<store::StoredSizes> sizes;
    if (parsed.has("sizes")) sizes = store::stored_sizes(*repository);
    if (!context.json && sizes) {
        print_sizes(context.output, records, *sizes);
        return exit_done;
    }
    if (!context.json) {
        (parsed.has("graph") ? print_graph : print_log)(context.output, records, names);
        return exit_done;
    }
    Json list = Json::array();
    for (const store::SnapshotRecord& record : records) {
        Json item = record_json(record);
        item["parent_name"] = record.info.parent ? Json(names.of(record.info.parent)) : Json();
        item["current"] = names.heads.contains(record.id);
        item["unique_bytes"] = sizes ? Json(sizes->of(record.id).unique) : Json();
        item["shared_bytes"] = sizes ? Json(sizes->of(record.id).shared) : Json();
        list.push_back(std::move(item));
    }
    context.output.json({{"snapshots", list}});
    return exit_done;
}

}  // namespace cprewind::cli

// `cprewind prune`: keep some snapshots by rule, remove the rest.
#include <fmt/format.h>

#include <chrono>

#include "base/error.h"
#include "base/text.h"
#include "cli/keeping.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "cli/record_view.h"
#include "store/repository.h"
#include "store/retention.h"

namespace cprewind::cli {

const char* const k_prune_help = R"(Examples:
  cprewind prune web --keep-last 10 --dry-run             what would go, and why the others stay
  cprewind prune --keep-last 5 --keep-hourly 24 --keep-daily 14
  cprewind prune --keep-daily 30 --keep-tag release --keep-tag '*'
  cprewind prune --max-size 20GiB                         the oldest go until the rest fits

Usage: cprewind prune [CONTAINER] RULE… [--dry-run]

  --keep-last N     the newest N of each container stay
  --keep-hourly N   the newest of each of the last N hours that have one (of each container)
  --keep-daily N    the newest of each of the last N days that have one, in local time
  --keep-tag T      those with the tag T, or with any tag if T is *; may be repeated
  --max-size BYTES  what is stored in all, e.g. 500MiB or 20GiB: the oldest go until it fits, but none that has a tag, and
                    not the newest of a container
  --dry-run         changes nothing

A snapshot stays when any of the keep rules names it; with --max-size alone all stay that fit. Without a rule nothing is
done. Snapshots that `rewind` took for safety have a rule of their own: the last 3 of each container stay, and those with a
tag. What snapshots share stays as long as one of them does, so the figures of what is freed count from the top.

Exit status: 0 done, 1 failed, 2 usage.)";

namespace {

// "500", "500MiB", "1.5 GiB" would be one too clever: whole numbers with a unit.
uint64_t parse_size(const std::string& text) {
    struct Unit {
        std::string_view name;
        unsigned shift;
    };
    static constexpr Unit k_units[] = {{"KiB", 10}, {"MiB", 20}, {"GiB", 30}, {"TiB", 40}, {"K", 10},
                                       {"M", 20},   {"G", 30},   {"T", 40},   {"B", 0}};
    std::string_view digits = text;
    unsigned shift = 0;
    for (const Unit& unit : k_units) {
        if (!digits.ends_with(unit.name)) continue;
        digits.remove_suffix(unit.name.size());
        shift = unit.shift;
        break;
    }
    auto number = base::parse_number(digits);
    if (!number || (*number << shift) >> shift != *number) {
        throw base::Error(base::ErrorKind::usage,
                          fmt::format("--max-size is '{}', which is no number of bytes", base::escape(text)),
                          "write 500MiB or 20GiB");
    }
    return *number << shift;
}

store::PrunePolicy read_policy(const Parsed& parsed) {
    store::PrunePolicy policy;
    auto number = [&](const char* name) {
        if (!parsed.has(name)) return uint64_t{0};
        std::string text = parsed.text(name);
        auto value = base::parse_number(text);
        if (!value || *value == 0) {
            throw base::Error(base::ErrorKind::usage, fmt::format("--{} is '{}'; it takes a number from 1 on",
                                                                  name, base::escape(text)));
        }
        return *value;
    };
    policy.keep_last = number("keep-last");
    policy.keep_hourly = number("keep-hourly");
    policy.keep_daily = number("keep-daily");
    if (parsed.has("keep-tag")) policy.keep_tags = parsed.values["keep-tag"].as<std::vector<std::string>>();
    if (parsed.has("max-size")) policy.max_size = parse_size(parsed.text("max-size"));
    if (policy.is_empty()) {
        throw base::Error(base::ErrorKind::usage, "no rule says what stays, so nothing is removed",
                          "for example: cprewind prune --keep-last 10 --dry-run");
    }
    return policy;
}

void print_verdicts(Output& output, const std::vector<store::Verdict>& verdicts, bool dry_run) {
    auto now = std::chrono::system_clock::now();
    Table table({"", "snapshot", "taken", "frees", "why"});
    table.right({3});
    for (const store::Verdict& verdict : verdicts) {
        std::string word = verdict.stays ? "stays" : dry_run ? "would go" : "goes";
        table.add({output.paint(verdict.stays ? Colour::dim : Colour::yellow, word), verdict.record.name(),
                   when(verdict.record.info.taken_at, now),
                   verdict.stays ? "" : base::human_bytes(verdict.freed_bytes), base::escape(verdict.why)});
    }
    if (!verdicts.empty()) output.table(table);
}

Json verdict_json(const store::Verdict& verdict) {
    Json item = record_json(verdict.record);
    item["stays"] = verdict.stays;
    item["why"] = verdict.why;
    item["freed_bytes"] = verdict.stays ? Json() : Json(verdict.freed_bytes);
    return item;
}

}  // namespace

int run_prune(Context& context, const std::vector<std::string>& arguments) {
    po::options_description options;
    auto add = options.add_options();
    for (const char* name : {"keep-last", "keep-hourly", "keep-daily", "max-size"})
        add(name, po::value<std::string>());
    add("keep-tag", po::value<std::vector<std::string>>());
    add("dry-run", po::bool_switch());
    Parsed parsed = parse_words(arguments, options, 0, 1, "CONTAINER");
    bool dry_run = parsed.values["dry-run"].as<bool>();
    store::PrunePolicy policy = read_policy(parsed);
    auto repository =
        store::open_repository(context.repository, dry_run ? store::OpenMode::read : store::OpenMode::write);
    std::optional<std::string_view> container;
    if (!parsed.words.empty()) container = parsed.words.front();
    auto verdicts = store::judge(repository->list(container), policy, store::stored_sizes(*repository));

    std::vector<store::SnapshotId> going;
    uint64_t freed = 0;
    for (const store::Verdict& verdict : verdicts) {
        if (verdict.stays) continue;
        going.push_back(verdict.record.id);
        freed += verdict.freed_bytes;
    }
    // Shown before it is done: when it is broken off, the list is what was meant.
    if (!context.json) print_verdicts(context.output, verdicts, dry_run);
    if (!dry_run) {
        Progress progress(!context.json);
        progress.show("removing", 0, 0);
        freed = repository->remove(going);
        progress.clear();
    }
    if (!context.json) {
        context.output.line(fmt::format("{} {}, {} {}", base::counted(going.size(), "snapshot"),
                                        dry_run ? "would go" : "removed", base::human_bytes(freed),
                                        dry_run ? "would be freed" : "freed"));
        return exit_done;
    }
    Json list = Json::array();
    for (const store::Verdict& verdict : verdicts) list.push_back(verdict_json(verdict));
    context.output.json(
        {{"dry_run", dry_run}, {"removed", going.size()}, {"freed_bytes", freed}, {"snapshots", list}});
    return exit_done;
}

}  // namespace cprewind::cli

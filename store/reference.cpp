#include "store/reference.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/error.h"
#include "store/layout.h"

namespace cprewind::store {
namespace {

using base::Error;
using base::ErrorKind;
using base::escape;

constexpr const char* k_forms = "write web@3, web@latest, web~2, web@{10m ago}, a tag or an id";

[[noreturn]] void unreadable(std::string_view text, std::string_view why) {
    throw Error(ErrorKind::usage, fmt::format("'{}' does not name a snapshot: {}", escape(text), why),
                k_forms);
}

bool is_prefix(std::string_view word, std::string_view id) {
    return word.size() >= k_shortest_prefix && id.starts_with(word);
}

std::string brief(const SnapshotRecord& record) {
    return fmt::format("{} ({})", escape(record.name()), record.id.substr(0, 12));
}

[[noreturn]] void ambiguous(std::string_view word, std::vector<std::string> candidates) {
    constexpr size_t k_shown = 5;
    size_t more = candidates.size() > k_shown ? candidates.size() - k_shown : 0;
    candidates.resize(candidates.size() - more);
    throw Error(ErrorKind::ambiguous,
                fmt::format("'{}' may mean {}{}", escape(word), base::join(candidates, " or "),
                            more > 0 ? fmt::format(" or {} more", more) : ""),
                "write one of these names, or more digits of the id");
}

[[noreturn]] void not_found(std::string_view word, const std::vector<SnapshotRecord>& all,
                            bool container_only) {
    std::vector<std::string> names;
    for (const SnapshotRecord& record : all) {
        names.push_back(record.info.container_name);
        if (!container_only) names.insert(names.end(), record.info.tags.begin(), record.info.tags.end());
    }
    std::string hint = base::did_you_mean(word, names);
    if (hint.empty()) {
        hint = all.empty() ? "the repository is empty; `cprewind snap CONTAINER` takes a snapshot"
                           : "`cprewind log` lists all snapshots";
    }
    throw Error(ErrorKind::not_found,
                container_only ? fmt::format("no snapshots of a container '{}'", escape(word))
                               : fmt::format("no snapshot or container is called '{}'", escape(word)),
                hint);
}

SnapshotRecord at_place(const Reference& reference, const std::vector<SnapshotRecord>& timeline) {
    const std::string& name = timeline.front().info.container_name;
    if (reference.place == Reference::Place::number) {
        for (const SnapshotRecord& record : timeline) {
            if (record.number == reference.number) return record;
        }
        throw Error(ErrorKind::not_found,
                    fmt::format("there is no snapshot {}@{}; {} has {}@{} to {}@{}", escape(name),
                                reference.number, escape(name), escape(name), timeline.front().number,
                                escape(name), timeline.back().number),
                    fmt::format("`cprewind log {}` lists them", escape(name)));
    }
    if (reference.place == Reference::Place::time) {
        const SnapshotRecord* best = nullptr;
        const SnapshotRecord* oldest = nullptr;
        for (const SnapshotRecord& record : timeline) {
            base::WallTime taken = record.info.taken_at;
            if (oldest == nullptr || taken < oldest->info.taken_at) oldest = &record;
            if (taken <= reference.time && (best == nullptr || taken >= best->info.taken_at)) best = &record;
        }
        if (best != nullptr) return *best;
        throw Error(ErrorKind::not_found,
                    fmt::format("no snapshot of {} is as old as {}; the oldest is {} of {}", escape(name),
                                base::local_time(reference.time), escape(oldest->name()),
                                base::local_time(oldest->info.taken_at)),
                    fmt::format("`cprewind log {}` lists them", escape(name)));
    }
    return timeline.back();
}

SnapshotRecord back_from(const SnapshotRecord& from, uint64_t back, const std::vector<SnapshotRecord>& all) {
    if (back == 0) return from;
    std::vector<SnapshotRecord> timeline = of_container(from.info.container_name, all);
    size_t at = 0;
    while (timeline[at].number != from.number) ++at;
    if (back > at) {
        throw Error(
            ErrorKind::not_found,
            fmt::format("{} has only {} before it", escape(from.name()), base::counted(at, "snapshot")),
            fmt::format("`cprewind log {}` lists them", escape(from.info.container_name)));
    }
    return timeline[at - static_cast<size_t>(back)];
}

// A word alone: a container (its latest), a tag, or the first digits of an id.
SnapshotRecord by_word(std::string_view word, const std::vector<SnapshotRecord>& all) {
    std::vector<SnapshotRecord> whole;
    std::vector<SnapshotRecord> prefixed;
    std::set<SnapshotId> seen;
    auto take = [&](std::vector<SnapshotRecord>& where, const SnapshotRecord& record) {
        if (seen.insert(record.id).second) where.push_back(record);
    };
    for (const SnapshotRecord& record : all) {
        const auto& tags = record.info.tags;
        if (record.id == word || std::find(tags.begin(), tags.end(), word) != tags.end()) take(whole, record);
    }
    auto named = [&](const SnapshotRecord& record) { return record.info.container_name == word; };
    std::vector<SnapshotRecord> timeline = of_container(word, all);
    if (!timeline.empty()) take(named(timeline.back()) ? whole : prefixed, timeline.back());
    for (const SnapshotRecord& record : all) {
        if (is_prefix(word, record.id)) take(prefixed, record);
    }
    const auto& found = whole.empty() ? prefixed : whole;
    if (found.empty()) not_found(word, all, false);
    if (found.size() > 1) {
        std::vector<std::string> candidates;
        for (const SnapshotRecord& record : found) candidates.push_back(brief(record));
        ambiguous(word, candidates);
    }
    return found.front();
}

}  // namespace

Reference parse_reference(std::string_view text, base::WallTime now) {
    Reference reference;
    std::string_view rest = text;
    // The ~ of a time in braces is not ours.
    size_t tilde = rest.rfind('~');
    if (tilde != std::string_view::npos && (rest.empty() || rest.back() != '}')) {
        auto back = base::parse_number(rest.substr(tilde + 1));
        if (!back) unreadable(text, "a number must follow '~'");
        reference.back = *back;
        rest = rest.substr(0, tilde);
    }
    size_t at = rest.find('@');
    std::string_view word = rest.substr(0, at);
    if (word.empty()) unreadable(text, "the container is missing");
    if (word.find_first_of("/{}~") != std::string_view::npos)
        unreadable(text, "a name holds none of / { } ~");
    reference.word = word;
    if (at == std::string_view::npos) return reference;
    std::string_view place = rest.substr(at + 1);
    if (place == "latest") {
        reference.place = Reference::Place::latest;
    } else if (place.size() >= 2 && place.front() == '{' && place.back() == '}') {
        auto time = base::parse_time(place.substr(1, place.size() - 2), now);
        if (!time)
            unreadable(text, fmt::format("'{}' is not a time", escape(place.substr(1, place.size() - 2))));
        reference.place = Reference::Place::time;
        reference.time = *time;
    } else if (auto number = base::parse_number(place)) {
        reference.place = Reference::Place::number;
        reference.number = *number;
    } else {
        unreadable(text, "a number, 'latest' or a {time} must follow '@'");
    }
    return reference;
}

bool is_tag(std::string_view text) {
    auto allowed = [](char c) {
        auto byte = static_cast<unsigned char>(c);
        return byte > 0x20 && byte != 0x7f && c != '@' && c != '~' && c != '/' && c != '{' && c != '}' &&
               c != '\\';
    };
    // A leading '-' would be an option, and 64 hex digits are an id.
    return !text.empty() && text.size() <= 128 && text.front() != '-' && text.front() != '.' &&
           base::is_utf8(text) && base::escape(text) == text &&
           std::all_of(text.begin(), text.end(), allowed) && !is_snapshot_id(text);
}

void check_tag(std::string_view text) {
    if (is_tag(text)) return;
    throw Error(ErrorKind::usage, fmt::format("'{}' cannot be a tag", base::escape(text)),
                "a tag holds no blanks and none of @ ~ / { } \\, and does not begin with - or .");
}

std::vector<SnapshotRecord> of_container(std::string_view word, const std::vector<SnapshotRecord>& all) {
    std::vector<SnapshotRecord> out;
    for (const SnapshotRecord& record : all) {
        if (record.info.container_name == word) out.push_back(record);
    }
    if (out.empty()) {
        std::set<std::string> ids;
        for (const SnapshotRecord& record : all) {
            if (!is_prefix(word, record.info.container_id)) continue;
            ids.insert(record.info.container_id);
            out.push_back(record);
        }
        if (ids.size() > 1) {
            std::vector<std::string> candidates;
            for (const std::string& id : ids) candidates.push_back("container " + escape(id.substr(0, 12)));
            ambiguous(word, candidates);
        }
    }
    std::stable_sort(out.begin(), out.end(), [](auto& a, auto& b) { return a.number < b.number; });
    return out;
}

SnapshotRecord find_reference(const Reference& reference, const std::vector<SnapshotRecord>& all) {
    SnapshotRecord base_record;
    if (reference.place == Reference::Place::none) {
        base_record = by_word(reference.word, all);
    } else {
        std::vector<SnapshotRecord> timeline = of_container(reference.word, all);
        if (timeline.empty()) not_found(reference.word, all, true);
        base_record = at_place(reference, timeline);
    }
    return back_from(base_record, reference.back, all);
}

}  // namespace cprewind::store

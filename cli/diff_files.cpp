// The part about files of the writable layer: names and metadata always, content when it is shown in full.
#include "cli/diff_sections.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/error.h"
#include "base/text.h"
#include "cli/json_text.h"
#include "engine/snapshot_files.h"
#include "inspect/file_content.h"
#include "inspect/layer_diff.h"
#include "inspect/text_diff.h"

namespace cprewind::cli {

namespace {

using base::escape;

const char* name_of(inspect::LayerFate fate) {
    switch (fate) {
        case inspect::LayerFate::added:
            return "added";
        case inspect::LayerFate::removed:
            return "removed";
        case inspect::LayerFate::changed:
            return "changed";
        case inspect::LayerFate::renamed:
            return "renamed";
    }
    return "changed";
}

constexpr uint64_t k_most_text = 1u << 20;  // lines of larger files are not compared, their bytes are

const images::LayerEntry* find_entry(const images::LayerTree& tree, const std::string& path) {
    for (const images::LayerEntry& entry : tree.entries) {
        if (entry.path == path) return &entry;
    }
    return nullptr;
}

// A further name of a file has its content under the first one.
const images::LayerEntry* holder_of(const images::LayerTree& tree, const images::LayerEntry* entry) {
    return entry && !entry->hard_link_to.empty() ? find_entry(tree, entry->hard_link_to) : entry;
}

struct Contents {
    std::vector<inspect::Hunk> hunks;
    std::vector<inspect::ByteRange> ranges;  // common length only
    bool text = false;
};

Contents compare_contents(const images::LayerEntry& a, const images::ImageFile* data_a,
                          const images::LayerEntry& b, const images::ImageFile* data_b) {
    Contents contents;
    if (a.size <= k_most_text && b.size <= k_most_text) {
        std::string before = inspect::read_content(a, data_a, 0, a.size);
        std::string after = inspect::read_content(b, data_b, 0, b.size);
        contents.text = inspect::is_text(before) && inspect::is_text(after);
        if (contents.text) {
            contents.hunks = inspect::diff_lines(before, after);
        } else {
            inspect::add_byte_ranges(contents.ranges, 0, before, after);
        }
        return contents;
    }
    constexpr uint64_t k_window = 1u << 20;
    for (uint64_t offset = 0; offset < std::min(a.size, b.size); offset += k_window) {
        std::string before = inspect::read_content(a, data_a, offset, k_window);
        std::string after = inspect::read_content(b, data_b, offset, k_window);
        if (before != after) inspect::add_byte_ranges(contents.ranges, offset, before, after);
    }
    return contents;
}

std::vector<std::string> content_lines(const Output& output, const Contents& contents, uint64_t size_before,
                                       uint64_t size_after) {
    std::vector<std::string> lines;
    for (const inspect::Hunk& hunk : contents.hunks) {
        lines.push_back(
            output.paint(Colour::cyan, fmt::format("    @@ -{},{} +{},{} @@", hunk.old_start, hunk.old_lines,
                                                   hunk.new_start, hunk.new_lines)));
        for (const inspect::HunkLine& line : hunk.lines) {
            Colour colour = line.mark == '-' ? Colour::red : line.mark == '+' ? Colour::green : Colour::plain;
            lines.push_back("    " + output.paint(colour, fmt::format("{}{}", line.mark, escape(line.text))));
            if (line.no_newline) lines.push_back("    \\ no newline at the end");
        }
    }
    constexpr size_t k_most_ranges = 100;
    for (size_t i = 0; i < std::min(contents.ranges.size(), k_most_ranges); ++i) {
        const inspect::ByteRange& range = contents.ranges[i];
        lines.push_back(fmt::format("    bytes {:#x}-{:#x} differ ({})", range.start, range.end,
                                    base::human_bytes(range.end - range.start)));
    }
    if (contents.ranges.size() > k_most_ranges) {
        lines.push_back(fmt::format("    and {} ranges more", contents.ranges.size() - k_most_ranges));
    }
    if (!contents.text && size_before != size_after) {
        lines.push_back(fmt::format(
            "    {} {} at the end",
            base::human_bytes(std::max(size_before, size_after) - std::min(size_before, size_after)),
            size_after > size_before ? "more" : "less"));
    }
    return lines;
}

Json contents_json(const Contents& contents) {
    Json hunks = Json::array(), ranges = Json::array();
    for (const inspect::Hunk& hunk : contents.hunks) {
        Json lines = Json::array();
        for (const inspect::HunkLine& line : hunk.lines)
            lines.push_back(std::string(1, line.mark) + line.text);
        hunks.push_back({{"old_start", hunk.old_start},
                         {"old_lines", hunk.old_lines},
                         {"new_start", hunk.new_start},
                         {"new_lines", hunk.new_lines},
                         {"lines", lines}});
    }
    for (const inspect::ByteRange& range : contents.ranges) {
        ranges.push_back({{"start", range.start}, {"end", range.end}});
    }
    return {{"text", contents.text}, {"hunks", hunks}, {"byte_ranges", ranges}};
}

std::string layer_line(const inspect::LayerChange& change, const std::string& prefix) {
    std::vector<std::string> sides;
    if (change.type_changed) sides.emplace_back("type");
    if (change.content) sides.emplace_back("content");
    for (const std::string& detail : change.details) sides.push_back(escape(detail));
    if (change.holes) sides.emplace_back("holes");
    std::string sizes;
    if (change.size_before != change.size_after) {
        sizes = fmt::format(" {} -> {} bytes", change.size_before, change.size_after);
    }
    std::string name = prefix + "/" + escape(change.path);
    if (!change.renamed_from.empty())
        name = fmt::format("{}/{} -> {}", prefix, escape(change.renamed_from), name);
    if (change.fate == inspect::LayerFate::added && !change.hard_link_to.empty()) {
        name += fmt::format(" (hard link to {}/{})", prefix, escape(change.hard_link_to));
    }
    return fmt::format("{:<7} {}{}{}{}", name_of(change.fate), name, change.is_whiteout ? " (deleted)" : "",
                       sides.empty() ? "" : ": " + base::join(sides, ", "), sizes);
}

// One tree of files as both sides have it.
struct TreePair {
    const images::LayerTree& a;
    const images::LayerTree& b;
    const images::ImageFile* data_a;
    const images::ImageFile* data_b;
    std::string name;    // of what holds the data, for findings
    std::string prefix;  // of its paths: "", "volume data:"
};

// The content of a changed file, where both sides have one; null else.
Json add_contents(Context& context, const TreePair& trees, const inspect::LayerChange& change,
                  Section& section, images::Findings& findings) {
    const std::string& old_path = change.renamed_from.empty() ? change.path : change.renamed_from;
    const auto* before = holder_of(trees.a, find_entry(trees.a, old_path));
    const auto* after = holder_of(trees.b, find_entry(trees.b, change.path));
    if (!before || !after || before->type != images::FileType::regular ||
        after->type != images::FileType::regular) {
        return {};
    }
    try {
        Contents contents = compare_contents(*before, trees.data_a, *after, trees.data_b);
        for (std::string& line : content_lines(context.output, contents, before->size, after->size)) {
            section.details.push_back(std::move(line));
        }
        return contents_json(contents);
    } catch (const base::Error& error) {
        images::add_finding(findings, {.kind = images::FindingKind::damaged,
                                       .file = trees.name,
                                       .offset = {},
                                       .message = error.message()});
        return {};
    }
}

Json change_json(const inspect::LayerChange& change) {
    Json item;
    item["fate"] = name_of(change.fate);
    put_bytes(item, "path", "/" + change.path);
    item["type"] = change.is_whiteout ? "whiteout" : images::name_of(change.type);
    item["content"] = change.content;
    item["metadata"] = change.metadata;
    put_bytes(item, "metadata_changes", change.details);
    item["holes"] = change.holes;
    item["type_changed"] = change.type_changed;
    item["size_before"] = change.size_before;
    item["size_after"] = change.size_after;
    put_bytes(item, "renamed_from", change.renamed_from.empty() ? "" : "/" + change.renamed_from);
    put_bytes(item, "hard_link_to", change.hard_link_to.empty() ? "" : "/" + change.hard_link_to);
    return item;
}

// Compares one tree: adds its lines to `section`, fills `json`, and returns what a headline says.
std::string compare_trees(Context& context, bool whole, const TreePair& trees, Section& section, Json& json,
                          images::Findings& findings) {
    inspect::LayerDiff diff = inspect::diff_layers(trees.a, trees.b);
    section.same = section.same && diff.same();
    Json list = Json::array();
    uint64_t counts[4] = {};
    for (const inspect::LayerChange& change : diff.changes) {
        ++counts[static_cast<size_t>(change.fate)];
        section.lines.push_back(layer_line(change, trees.prefix));
        section.details.push_back(section.lines.back());
        Json item = change_json(change);
        item["contents"] =
            whole && change.content ? add_contents(context, trees, change, section, findings) : Json();
        list.push_back(std::move(item));
    }
    json["changes"] = std::move(list);
    json["unchanged"] = diff.unchanged;
    json["bytes_added"] = diff.bytes_added;
    json["bytes_removed"] = diff.bytes_removed;
    return fmt::format("{} added, {} removed, {} renamed, {} changed, {} unchanged", counts[0], counts[1],
                       counts[3], counts[2], diff.unchanged);
}

const images::FileTree* find_tree(const Subject& subject, const std::string& title) {
    for (const images::FileTree& tree : subject.trees) {
        if (tree_title(tree) == title) return &tree;
    }
    return nullptr;
}

// Volumes and the like: each that both sides have. What one side did not capture is said, and no difference.
Json compare_volumes(Context& context, const DiffRequest& request, Section& section,
                     images::Findings& findings) {
    std::set<std::string> titles;
    for (const Subject* side : {&request.a, &request.b}) {
        for (const images::FileTree& tree : side->trees) titles.insert(tree_title(tree));
    }
    Json list = Json::array();
    for (const std::string& title : titles) {
        const auto *before = find_tree(request.a, title), *after = find_tree(request.b, title);
        Json item;
        put_bytes(item, "name", title);
        item["compared"] = before && after;
        if (before && after) {
            TreePair trees{before->tree,      after->tree, before->data.get(),
                           after->data.get(), title,       escape(title) + ":"};
            std::string counts = compare_trees(context, request.whole, trees, section, item, findings);
            section.headline += fmt::format("; {}: {}", escape(title), counts);
        } else {
            item["changes"] = Json::array();
            item["unchanged"] = item["bytes_added"] = item["bytes_removed"] = nullptr;
            section.headline += fmt::format("; {} is in {} only, not compared", escape(title),
                                            before ? request.a.name : request.b.name);
        }
        list.push_back(std::move(item));
    }
    return list;
}

}  // namespace

Section section_files(Context& context, const DiffRequest& request, images::Findings& findings) {
    const Subject &a = request.a, &b = request.b;
    Section section;
    section.json = Json::object();
    if (a.layer && b.layer) {
        auto data_a = a.files->open(engine::k_layer_data), data_b = b.files->open(engine::k_layer_data);
        TreePair trees{*a.layer, *b.layer, data_a.get(), data_b.get(), engine::k_layer_data, ""};
        section.headline = compare_trees(context, request.whole, trees, section, section.json, findings);
    } else {
        section.headline = fmt::format("not compared: {} has no writable layer", a.layer ? b.name : a.name);
    }
    Json volumes = compare_volumes(context, request, section, findings);
    if (section.json.empty() && volumes.empty()) {
        section.json = nullptr;
    } else {
        for (const char* key : {"changes", "unchanged", "bytes_added", "bytes_removed"}) {
            if (!section.json.contains(key)) section.json[key] = nullptr;
        }
        section.json["volumes"] = std::move(volumes);
    }
    return section;
}

}  // namespace cprewind::cli

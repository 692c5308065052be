// The part about memory: pages and mappings in numbers, and on demand every page, byte and string that differs.
#include "cli/diff_sections.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <tuple>

#include "base/text.h"
#include "cli/json_text.h"
#include "cli/progress.h"
#include "inspect/diff_strings.h"

namespace cprewind::cli {

std::string range_text(images::AddressRange range) {
    return range.end == 0 ? "-" : fmt::format("{:012x}-{:012x}", range.start, range.end);
}

namespace {

using base::escape;

const char* name_of(inspect::MappingFate fate) {
    switch (fate) {
        case inspect::MappingFate::added:
            return "mapped";
        case inspect::MappingFate::removed:
            return "unmapped";
        case inspect::MappingFate::grown:
            return "grown";
        case inspect::MappingFate::shrunk:
            return "shrunk";
        case inspect::MappingFate::protection:
            return "protection";
        case inspect::MappingFate::replaced:
            return "replaced";
        case inspect::MappingFate::moved:
            return "moved";
    }
    return "replaced";
}

std::string page_text(const inspect::PageChanges& pages) {
    std::string text = fmt::format("{} changed, {} new, {} gone, {} zeroed, {} equal", pages.changed,
                                   pages.added, pages.gone, pages.zeroed, pages.equal);
    if (pages.unknown > 0) text += fmt::format(", {} not comparable", pages.unknown);
    return text;
}

Json pages_json(const inspect::PageChanges& pages) {
    return {{"equal", pages.equal}, {"changed", pages.changed}, {"new", pages.added},
            {"gone", pages.gone},   {"zeroed", pages.zeroed},   {"unknown", pages.unknown}};
}

Json range_json(images::AddressRange range) {
    if (range.end == 0) return {};
    return {{"start", hex_number(range.start)}, {"end", hex_number(range.end)}};
}

void add_mappings(const inspect::ProcessMemoryDiff& process, Section& section, Json& item) {
    Json mappings = Json::array();
    for (const inspect::MappingChange& change : process.mappings) {
        section.details.push_back(fmt::format("  {:<10} {} {} -> {} {} {} {}", name_of(change.fate),
                                              range_text(change.before), change.protection_before,
                                              range_text(change.after), change.protection_after, change.kind,
                                              escape(change.path)));
        Json entry;
        entry["fate"] = name_of(change.fate);
        entry["kind"] = change.kind;
        put_bytes(entry, "path", change.path);
        entry["before"] = range_json(change.before);
        entry["after"] = range_json(change.after);
        entry["protection_before"] = change.protection_before;
        entry["protection_after"] = change.protection_after;
        mappings.push_back(std::move(entry));
    }
    Json by_mapping = Json::array();
    for (const inspect::MappingPages& pages : process.by_mapping) {
        section.details.push_back(fmt::format("  pages      {} {} {}: {}", range_text(pages.range),
                                              pages.kind, escape(pages.path), page_text(pages.pages)));
        Json entry;
        entry["range"] = range_json(pages.range);
        entry["kind"] = pages.kind;
        put_bytes(entry, "path", pages.path);
        entry["pages"] = pages_json(pages.pages);
        by_mapping.push_back(std::move(entry));
    }
    item["mappings"] = std::move(mappings);
    item["by_mapping"] = std::move(by_mapping);
}

const char* name_of(inspect::PageFate fate) {
    switch (fate) {
        case inspect::PageFate::changed:
            return "changed";
        case inspect::PageFate::added:
            return "new";
        case inspect::PageFate::gone:
            return "gone";
        case inspect::PageFate::zeroed:
            return "zeroed";
    }
    return "changed";
}

std::string owner_text(images::DumpPid pid, std::optional<uint64_t> object) {
    return object ? fmt::format("shared memory {}", *object) : fmt::format("process {}", pid.value);
}

Json owner_json(images::DumpPid pid, std::optional<uint64_t> object) {
    Json item;
    item["pid"] = object ? Json() : Json(pid.value);
    item["shared_object"] = object ? Json(*object) : Json();
    return item;
}

constexpr char k_hex_digits[] = "0123456789abcdef";

// Writes "    - 7f0012345670  00 01 02 …  |...|" of up to sixteen bytes into `line`; an absent side is all zero. There may
// be millions of them, so no formatting library, and no memory allocated for each.
void hex_row(std::string& line, char mark, uint64_t address, std::span<const std::byte> bytes, size_t size) {
    constexpr size_t k_address = 6, k_address_digits = 12, k_hex = k_address + k_address_digits + 2;
    size_t digits = k_address_digits;
    while (digits < 16 && address >> (4 * digits) != 0) ++digits;
    size_t hex = k_hex + (digits - k_address_digits), text = hex + 3 * size + 2;
    line.assign(text + size + 1, ' ');
    line[4] = mark;
    for (size_t i = 0; i < digits; ++i)
        line[k_address + i] = k_hex_digits[address >> (4 * (digits - 1 - i)) & 15];
    line[text - 1] = line[text + size] = '|';
    for (size_t i = 0; i < size; ++i) {
        unsigned value = bytes.empty() ? 0 : static_cast<unsigned char>(bytes[i]);
        line[hex + 3 * i] = k_hex_digits[value >> 4];
        line[hex + 3 * i + 1] = k_hex_digits[value & 15];
        line[text + i] = value >= 0x20 && value < 0x7f ? static_cast<char>(value) : '.';
    }
}

// Shows pages as they come: text at once, JSON in a list that is capped, because it is one document.
class PageDetails {
 public:
    PageDetails(Context& context, const DiffRequest& request) : context_(context), request_(request) {}

    void add(const inspect::PagePair& page) {
        if (!request_.pages && !request_.bytes) return;
        bool joins = run_ && run_->pid == page.pid && run_->object == page.object &&
                     run_->mapping == page.mapping && run_->fate == page.fate && run_->end == page.address;
        if (!joins || request_.bytes) {
            flush();
            run_ = Run{page.pid, page.object, page.mapping, page.fate, page.address, page.address};
        }
        run_->end = page.address + page.bytes;
        if (request_.bytes) rows(page);
    }
    void flush() {
        if (!run_ || !request_.pages) return;
        heading();
        const char* where = run_->mapping ? images::name_of(run_->mapping->kind) : "shared";
        if (context_.json) {
            Json item = owner_json(run_->pid, run_->object);
            item["start"] = hex_number(run_->start);
            item["end"] = hex_number(run_->end);
            item["fate"] = name_of(run_->fate);
            push(pages_, std::move(item));
        } else {
            context_.output.line(fmt::format("    {:012x}-{:012x} {:<7} {} {}", run_->start, run_->end,
                                             name_of(run_->fate), where,
                                             run_->mapping ? escape(run_->mapping->path) : ""));
        }
        run_.reset();
    }
    void fill(Json& json) {
        json["page_ranges"] = request_.pages ? pages_ : Json();
        json["byte_ranges"] = request_.bytes ? bytes_ : Json();
        json["details_complete"] = complete_;
    }

 private:
    struct Run {
        images::DumpPid pid;
        std::optional<uint64_t> object;
        const images::Mapping* mapping;
        inspect::PageFate fate;
        uint64_t start;
        uint64_t end;
    };

    void heading() {
        if (context_.json) return;
        std::string text = owner_text(run_->pid, run_->object);
        if (run_->mapping != nullptr && request_.bytes) {
            const images::Mapping& mapping = *run_->mapping;
            text += fmt::format("  {:012x}-{:012x} {} {} {}", mapping.start, mapping.end,
                                images::protection_text(mapping), images::name_of(mapping.kind),
                                escape(mapping.path));
        }
        if (text == heading_) return;
        heading_ = text;
        context_.output.line("  " + context_.output.paint(Colour::bold, text));
    }

    void push(Json& list, Json item) {
        constexpr size_t k_most_items = 200000;
        if (list.size() >= k_most_items) {
            complete_ = false;
            return;
        }
        list.push_back(std::move(item));
    }

    // Ranges of differing bytes, less than sixteen apart joined; text shows them in whole rows.
    void rows(const inspect::PagePair& page) {
        constexpr uint64_t k_row = 16;
        auto same_row = [&](uint64_t row, size_t size) {
            return !page.before.empty() && !page.after.empty() &&
                   std::memcmp(page.before.data() + row, page.after.data() + row, size) == 0;
        };
        auto differs = [&](uint64_t i) {
            std::byte before = page.before.empty() ? std::byte{0} : page.before[i];
            std::byte after = page.after.empty() ? std::byte{0} : page.after[i];
            return before != after;
        };
        if (context_.json) {
            for (uint64_t i = 0; i < page.bytes; ++i) {
                if (!differs(i)) continue;
                uint64_t end = i + 1;
                for (uint64_t j = end; j < std::min(page.bytes, end + k_row); ++j) {
                    if (differs(j)) end = j + 1;
                }
                auto text = [&](std::span<const std::byte> side) {
                    return side.empty() ? Json() : Json(base::to_hex(side.subspan(i, end - i)));
                };
                Json item = owner_json(page.pid, page.object);
                item["start"] = hex_number(page.address + i);
                item["end"] = hex_number(page.address + end);
                item["before"] = text(page.before);
                item["after"] = text(page.after);
                push(bytes_, std::move(item));
                i = end;
            }
            return;
        }
        heading();
        for (uint64_t row = 0; row < page.bytes; row += k_row) {
            size_t size = static_cast<size_t>(std::min(k_row, page.bytes - row));
            if (same_row(row, size)) continue;
            bool any = false;
            for (uint64_t i = row; i < row + size && !any; ++i) any = differs(i);
            if (!any) continue;
            for (const auto& [mark, colour, side] :
                 {std::tuple('-', Colour::red, page.before), std::tuple('+', Colour::green, page.after)}) {
                hex_row(line_, mark, page.address + row, side.empty() ? side : side.subspan(row), size);
                if (context_.output.to_terminal()) line_ = context_.output.paint(colour, line_);
                context_.output.line(line_);
            }
        }
    }

    Context& context_;
    const DiffRequest& request_;
    std::optional<Run> run_;
    std::string line_;
    std::string heading_;
    Json pages_ = Json::array();
    Json bytes_ = Json::array();
    bool complete_ = true;
};

void show_strings(Context& context, const std::vector<inspect::OwnerStrings>& owners, Json& json) {
    Json list = Json::array();
    for (const inspect::OwnerStrings& owner : owners) {
        std::string heading =
            "  " + context.output.paint(Colour::bold, "strings of " + owner_text(owner.pid, owner.object));
        if (!context.json) context.output.line(heading);
        Json item = owner_json(owner.pid, owner.object);
        Json gone = Json::array(), come = Json::array();
        for (const inspect::StringChange& change : owner.changes) {
            if (context.json) {
                (change.appeared ? come : gone)
                    .push_back({{"address", hex_number(change.address)}, {"text", change.text}});
                continue;
            }
            context.output.line(
                context.output.paint(change.appeared ? Colour::green : Colour::red,
                                     fmt::format("    {} {:012x}  {}", change.appeared ? '+' : '-',
                                                 change.address, escape(change.text))));
        }
        if (!owner.complete && !context.json) context.output.line("    … and more than there was memory for");
        item["disappeared"] = std::move(gone);
        item["appeared"] = std::move(come);
        item["complete"] = owner.complete;
        list.push_back(std::move(item));
    }
    json["strings"] = std::move(list);
}

}  // namespace

Section section_memory(Context& context, const DiffRequest& request, images::Findings& findings) {
    std::string refusal = inspect::unlike(request.a.moment(), request.b.moment());
    if (!refusal.empty()) {
        images::add_finding(findings, {.kind = images::FindingKind::unverified,
                                       .file = {},
                                       .offset = {},
                                       .message = "memory is not compared: " + refusal});
        return {true, "not compared: " + refusal, {}, {}, {}};
    }
    Progress progress(!context.json);
    PageDetails details(context, request);
    inspect::StringDiff strings(request.strings);
    inspect::MemoryDiffOptions options;
    options.reused = request.reused;
    if (request.pid) options.pid = images::DumpPid{*request.pid};
    options.progress = [&](uint64_t done, uint64_t total) { progress.show("comparing", done, total); };
    if (request.pages || request.bytes || request.strings > 0) {
        options.visit = [&](const inspect::PagePair& page) {
            progress.clear();
            details.add(page);
            if (request.strings > 0) strings.add(page);
        };
    }
    inspect::MemoryDiff diff = inspect::diff_memory(request.a.moment(), request.b.moment(), options);
    progress.clear();
    details.flush();
    for (images::Finding& finding : diff.findings) images::add_finding(findings, std::move(finding));
    Section section{diff.same(), {}, {}, {}, Json::object()};
    Json list = Json::array();
    for (const inspect::ProcessMemoryDiff& process : diff.processes) {
        if (process.same()) continue;
        const char* side = process.only_in_a   ? " (only in the first)"
                           : process.only_in_b ? " (only in the second)"
                                               : "";
        section.lines.push_back(fmt::format("{} {}{}: {}", process.pid.value, escape(process.comm), side,
                                            page_text(process.pages)));
        section.details.push_back(section.lines.back());
        Json item;
        item["pid"] = process.pid.value;
        put_bytes(item, "comm", process.comm);
        item["only_in"] = process.only_in_a ? Json("a") : process.only_in_b ? Json("b") : Json();
        item["page_size"] = process.page_size;
        item["pages"] = pages_json(process.pages);
        add_mappings(process, section, item);
        list.push_back(std::move(item));
    }
    section.headline = fmt::format("{} differ; pages: {}", base::human_bytes(diff.total_different_bytes),
                                   page_text(diff.total));
    section.json["different_bytes"] = diff.total_different_bytes;
    section.json["pages"] = pages_json(diff.total);
    section.json["shared_pages"] = pages_json(diff.shared);
    section.json["processes"] = std::move(list);
    details.fill(section.json);
    section.json["strings"] = nullptr;
    if (request.strings > 0) show_strings(context, strings.finish(), section.json);
    return section;
}

}  // namespace cprewind::cli

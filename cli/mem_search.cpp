// `cprewind mem SNAP search` and `strings`: results are written while memory is read.
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/fd.h"
#include "base/text.h"
#include "cli/json_text.h"
#include "cli/mem_words.h"
#include "inspect/memory_strings.h"

namespace cprewind::cli {

using base::Error;
using base::ErrorKind;

namespace {

using Words = std::vector<std::string>;

// Results between two looks whether anybody still reads them.
constexpr uint64_t k_flush_every = 4096;

std::vector<inspect::Pattern> wanted_patterns(const MemRequest& request) {
    const Parsed& parsed = request.parsed;
    std::vector<inspect::Pattern> patterns;
    for (const std::string& word : request.words) patterns.push_back({inspect::PatternKind::text, word});
    constexpr std::array k_kinds = {inspect::PatternKind::text, inspect::PatternKind::hex,
                                    inspect::PatternKind::regex};
    for (inspect::PatternKind kind : k_kinds) {
        const char* option = inspect::name_of(kind);
        if (!parsed.has(option)) continue;
        for (const std::string& word : parsed.values[option].as<Words>()) patterns.push_back({kind, word});
    }
    if (parsed.has("patterns")) {
        for (std::string line : base::split(base::read_file(parsed.text("patterns")), '\n')) {
            if (line.ends_with('\r')) line.pop_back();
            if (!line.empty() && !line.starts_with('#'))
                patterns.push_back(inspect::parse_pattern_line(line));
        }
    }
    if (patterns.empty())
        throw Error(ErrorKind::usage, "search for what?",
                    "give words, --text, --hex, --regex, or --patterns with a file of them");
    for (inspect::Pattern& pattern : patterns) {
        pattern.ignore_case = parsed.has("ignore-case");
        pattern.wide = parsed.has("utf-16") && pattern.kind == inspect::PatternKind::text;
    }
    return patterns;
}

// As the right column of a hex dump has it: safe on any terminal, and as wide as it is long.
std::string dotted(std::string_view bytes) {
    std::string out(bytes);
    for (char& c : out) {
        if (c < 0x20 || c > 0x7e) c = '.';
    }
    return out;
}

std::string spaced_hex(std::string_view bytes) {
    std::string out;
    for (char c : bytes)
        out += fmt::format("{}{:02x}", out.empty() ? "" : " ", static_cast<unsigned char>(c));
    return out;
}

class SearchReport {
 public:
    SearchReport(MemRequest& request, const inspect::PatternSet& set)
        : request_(request), set_(set), counts_(set.patterns().size()) {
        count_only_ = request.parsed.has("count");
        if (request.parsed.has("limit")) limit_ = request.parsed.values["limit"].as<uint64_t>();
        if (request.context.json) {
            Json before;
            before["subject"] = request.subject.name;
            writer_.emplace(request.context.output, before, "hits");
        }
    }

    bool add(const inspect::SearchHit& hit) {
        ++counts_[hit.pattern];
        ++hits_;
        if (!count_only_) writer_ ? write_json(hit) : write_text(hit);
        if (hits_ % k_flush_every == 0 && !request_.context.output.flush()) return false;
        return hits_ < limit_;
    }

    void end(const inspect::ScanSummary& summary) {
        if (writer_) {
            Json after, patterns = Json::array();
            for (size_t i = 0; i < counts_.size(); ++i) {
                Json item;
                item["kind"] = inspect::name_of(set_.patterns()[i].kind);
                put_bytes(item, "pattern", set_.patterns()[i].source);
                item["hits"] = counts_[i];
                patterns.push_back(std::move(item));
            }
            after["patterns"] = std::move(patterns);
            after["searched"] = summary_json(summary);
            after["unread"] = unread_json(summary.unread);
            after["findings"] = findings_json(request_.findings);
            writer_->end(after);
            return;
        }
        Output& output = request_.context.output;
        if (count_only_) {
            Table table({"hits", "pattern"});
            table.right({0});
            for (size_t i = 0; i < counts_.size(); ++i)
                table.add({std::to_string(counts_[i]), base::escape(set_.patterns()[i].source)});
            output.table(table);
        }
        output.flush();
        complain(fmt::format("{} in {} of {}{}", base::counted(hits_, "hit"),
                             base::human_bytes(summary.bytes),
                             base::counted(summary.processes, "process", "processes"),
                             summary.complete ? "" : "; stopped before the end"));
        complain_of_unread(summary.unread);
        print_findings(output, request_.findings);
    }

 private:
    void write_text(const inspect::SearchHit& hit) {
        Output& output = request_.context.output;
        const inspect::Pattern& pattern = set_.patterns()[hit.pattern];
        std::string which =
            set_.patterns().size() > 1 ? fmt::format("  {{{}}}", base::escape(pattern.source)) : "";
        std::string hex = pattern.kind == inspect::PatternKind::hex ? spaced_hex(hit.match) + "  " : "";
        bool more = hit.cut || hit.match.size() < hit.bytes;
        output.line(fmt::format("{} {:#x} {} {}{}{}  {}{}{}{}", hit.process->pid.value, hit.address,
                                mapping_protection(hit.mapping), base::escape(mapping_label(hit.mapping)),
                                also_text(hit.also), which, hex, dotted(hit.before),
                                output.paint(Colour::red, dotted(hit.match)),
                                more ? "…" : dotted(hit.after)));
    }

    void write_json(const inspect::SearchHit& hit) {
        Json item;
        put_place(item, *hit.process, hit.mapping, hit.address);
        item["pattern"] = hit.pattern;
        item["bytes"] = hit.bytes;
        item["longer"] = hit.cut;
        put_bytes(item, "match", hit.match);
        put_bytes(item, "before", hit.before);
        put_bytes(item, "after", hit.after);
        item["also"] = also_json(hit.also);
        writer_->add(item);
    }

    MemRequest& request_;
    const inspect::PatternSet& set_;
    std::vector<uint64_t> counts_;
    uint64_t hits_ = 0;
    uint64_t limit_ = UINT64_MAX;
    bool count_only_ = false;
    std::optional<JsonListWriter> writer_;
};

inspect::TextEncoding parse_encoding(const std::string& word) {
    Words names;
    for (inspect::TextEncoding encoding : {inspect::TextEncoding::ascii, inspect::TextEncoding::utf8,
                                           inspect::TextEncoding::utf16le, inspect::TextEncoding::utf16be}) {
        names.emplace_back(inspect::name_of(encoding));
        if (word == names.back()) return encoding;
    }
    std::string hint = base::did_you_mean(word, names);
    throw Error(ErrorKind::usage, fmt::format("there is no encoding '{}'", base::escape(word)),
                hint.empty() ? "the encodings are: " + base::join(names, ", ") + ", all" : hint);
}

std::vector<inspect::TextEncoding> wanted_encodings(const Parsed& parsed) {
    using inspect::TextEncoding;
    if (!parsed.has("encoding")) return {TextEncoding::utf8};
    std::vector<TextEncoding> encodings;
    auto add = [&](TextEncoding encoding) {
        if (std::find(encodings.begin(), encodings.end(), encoding) == encodings.end())
            encodings.push_back(encoding);
    };
    for (const std::string& words : parsed.values["encoding"].as<Words>()) {
        for (const std::string& word : base::split(words, ',')) {
            if (word == "all") {
                for (TextEncoding each : {TextEncoding::utf8, TextEncoding::utf16le, TextEncoding::utf16be})
                    add(each);
            } else {
                add(parse_encoding(word));
            }
        }
    }
    // ASCII is a part of UTF-8: both would say everything twice.
    if (std::find(encodings.begin(), encodings.end(), TextEncoding::utf8) != encodings.end())
        std::erase(encodings, TextEncoding::ascii);
    return encodings;
}

// Millions of lines: made by hand, given to the output in large pieces.
class StringsText {
 public:
    StringsText(Output& output, const inspect::ObjectMappings& objects, bool with_encoding)
        : output_(output), objects_(objects), with_encoding_(with_encoding) {}

    bool add(const inspect::StringHit& hit) {
        if (hit.process != process_ || hit.mapping != mapping_) {
            process_ = hit.process;
            mapping_ = hit.mapping;
            pid_ = fmt::format("{} 0x", hit.process->pid.value);
            label_ = fmt::format(" {} {}", mapping_protection(hit.mapping),
                                 base::escape(mapping_label(hit.mapping)));
        }
        lines_ += pid_;
        add_hex(hit.address);
        lines_ += label_;
        if (hit.piece->shared)
            lines_ += also_text(inspect::places_beside(objects_, hit.process->pid, *hit.piece, hit.address));
        if (with_encoding_) lines_.append(" ").append(inspect::name_of(hit.encoding));
        lines_ += "  ";
        // What find_strings gives has no control characters.
        if (std::none_of(hit.text.begin(), hit.text.end(), [](char c) { return (c & 0x80) != 0; })) {
            lines_ += hit.text;
        } else {
            lines_ += base::escape(hit.text);
        }
        lines_ += '\n';
        return lines_.size() < k_piece || give();
    }

    bool give() {
        if (lines_.empty()) return true;
        lines_.pop_back();
        output_.line(lines_);
        lines_.clear();
        return output_.flush();
    }

 private:
    static constexpr size_t k_piece = 256u << 10;

    void add_hex(uint64_t value) {
        char digits[16];
        size_t count = 0;
        do {
            digits[count++] = "0123456789abcdef"[value & 15];
            value >>= 4;
        } while (value != 0);
        while (count > 0) lines_ += digits[--count];
    }

    Output& output_;
    const inspect::ObjectMappings& objects_;
    bool with_encoding_;
    const images::Process* process_ = nullptr;
    const images::Mapping* mapping_ = nullptr;
    std::string pid_, label_, lines_;
};

}  // namespace

int mem_search(MemRequest& request) {
    inspect::PatternSet set(wanted_patterns(request));
    Progress progress(!request.context.json);
    inspect::SearchOptions options;
    options.scan = scan_options(request, progress);
    options.count_only = request.parsed.has("count");
    options.context = std::min<size_t>(request.parsed.values["context"].as<size_t>(), 1024);
    SearchReport report(request, set);
    auto found = [&](const inspect::SearchHit& hit) { return report.add(hit); };
    inspect::ScanSummary summary =
        inspect::search_memory(request.subject.moment(), set, options, found, request.findings);
    progress.clear();
    report.end(summary);
    return request.findings.empty() ? exit_done : exit_findings;
}

int mem_strings(MemRequest& request) {
    if (!request.words.empty())
        throw Error(ErrorKind::usage, "strings takes no words",
                    "to look for one: `cprewind mem SNAPSHOT search WORD`");
    Progress progress(!request.context.json);
    inspect::StringsOptions options;
    options.scan = scan_options(request, progress);
    options.least = std::max<size_t>(request.parsed.values["min"].as<size_t>(), 1);
    options.encodings = wanted_encodings(request.parsed);
    inspect::ObjectMappings objects = inspect::map_objects(request.subject.checkpoint);
    inspect::Moment moment = request.subject.moment();
    Output& output = request.context.output;
    uint64_t limit = request.parsed.has("limit") ? request.parsed.values["limit"].as<uint64_t>() : UINT64_MAX;
    uint64_t count = 0;
    if (request.context.json) {
        Json before;
        before["subject"] = request.subject.name;
        JsonListWriter writer(output, before, "strings");
        auto found = [&](const inspect::StringHit& hit) {
            Json item;
            put_place(item, *hit.process, hit.mapping, hit.address);
            item["bytes"] = hit.bytes;
            item["encoding"] = inspect::name_of(hit.encoding);
            item["text"] = hit.text;
            item["also"] =
                also_json(inspect::places_beside(objects, hit.process->pid, *hit.piece, hit.address));
            writer.add(item);
            return ++count < limit && (count % k_flush_every != 0 || output.flush());
        };
        inspect::ScanSummary summary = inspect::find_strings(moment, options, found, request.findings);
        Json after;
        after["searched"] = summary_json(summary);
        after["unread"] = unread_json(summary.unread);
        after["findings"] = findings_json(request.findings);
        writer.end(after);
    } else {
        StringsText text(output, objects, options.encodings.size() > 1);
        auto found = [&](const inspect::StringHit& hit) { return text.add(hit) && ++count < limit; };
        inspect::ScanSummary summary = inspect::find_strings(moment, options, found, request.findings);
        progress.clear();
        text.give();
        complain_of_unread(summary.unread);
        print_findings(output, request.findings);
    }
    return request.findings.empty() ? exit_done : exit_findings;
}

}  // namespace cprewind::cli

#include "cli/mem_words.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <map>

#include "base/error.h"
#include "base/text.h"
#include "cli/json_text.h"

namespace cprewind::cli {

using base::Error;
using base::ErrorKind;

namespace {

images::MappingKind parse_kind(const std::string& text) {
    std::vector<std::string> names;
    for (int i = 0; i <= static_cast<int>(images::MappingKind::unknown); ++i) {
        auto kind = static_cast<images::MappingKind>(i);
        names.emplace_back(images::name_of(kind));
        if (text == names.back()) return kind;
    }
    std::string hint = base::did_you_mean(text, names);
    throw Error(ErrorKind::usage, fmt::format("there is no kind of mapping '{}'", base::escape(text)),
                hint.empty() ? "the kinds are: " + base::join(names, ", ") : hint);
}

images::AddressRange parse_range(const std::string& text) {
    size_t cut = text.find_first_of("-+");
    if (cut != std::string::npos) {
        uint64_t start = parse_memory_address(text.substr(0, cut));
        std::string rest = text.substr(cut + 1);
        uint64_t end = 0;
        if (text[cut] == '-') {
            end = parse_memory_address(rest);
        } else {
            uint64_t length = parse_memory_length(rest);
            end = length > UINT64_MAX - start ? UINT64_MAX : start + length;
        }
        if (start < end) return {start, end};
    }
    throw Error(ErrorKind::usage, fmt::format("'{}' is no range of addresses", base::escape(text)),
                "write START-END or START+LENGTH, as 7f0010000000-7f0010021000 or 0x1000+64K");
}

[[noreturn]] void refuse_pid(const Subject& subject, uint32_t pid) {
    std::vector<std::string> pids;
    for (const images::Process& process : subject.checkpoint.processes) {
        if (pids.size() < 20) pids.push_back(std::to_string(process.pid.value));
    }
    throw Error(ErrorKind::not_found, fmt::format("{} has no process {}", subject.name, pid),
                "its processes are: " + base::join(pids, ", "));
}

const char* words_for(images::PageState state) {
    switch (state) {
        case images::PageState::from_file:
            return "in mapped files";
        case images::PageState::kernel:
            return "of the kernel's own";
        case images::PageState::parent:
            return "in the parent checkpoint, which is not at hand";
        case images::PageState::lazy:
            return "left in the dumped process";
        case images::PageState::unmapped:
            return "not mapped";
        case images::PageState::missing:
        case images::PageState::present:
        case images::PageState::zero:
            break;
    }
    return "missing from the images";
}

}  // namespace

uint64_t parse_memory_address(const std::string& text) {
    auto address = base::parse_address(text);
    if (address) return *address;
    throw Error(ErrorKind::usage, fmt::format("'{}' is no address", base::escape(text)),
                "addresses are hexadecimal, with or without 0x");
}

uint64_t parse_memory_length(const std::string& text) {
    if (text.starts_with("0x")) return parse_memory_address(text);
    std::string digits = text;
    unsigned shift = 0;
    if (!digits.empty()) {
        constexpr std::string_view k_units = "KMGT";
        size_t unit = k_units.find(digits.back());
        if (unit != std::string_view::npos) {
            shift = static_cast<unsigned>(10 * (unit + 1));
            digits.pop_back();
        }
    }
    auto number = base::parse_number(digits);
    if (number && *number <= UINT64_MAX >> shift) return *number << shift;
    throw Error(ErrorKind::usage, fmt::format("'{}' is no length", base::escape(text)),
                "a number of bytes, as 4096, 0x1000, 64K or 1M");
}

inspect::MemoryFilter parse_memory_filter(const Parsed& parsed, const Subject& subject) {
    using Words = std::vector<std::string>;
    inspect::MemoryFilter filter;
    if (parsed.has("pid")) {
        for (uint32_t pid : parsed.values["pid"].as<std::vector<uint32_t>>()) {
            if (subject.checkpoint.find_process(images::DumpPid{pid}) == nullptr) refuse_pid(subject, pid);
            filter.pids.push_back({pid});
        }
    }
    if (parsed.has("kind")) {
        for (const std::string& word : parsed.values["kind"].as<Words>()) {
            for (const std::string& kind : base::split(word, ',')) filter.kinds.push_back(parse_kind(kind));
        }
    }
    if (parsed.has("range")) {
        std::vector<images::AddressRange> ranges;
        for (const std::string& word : parsed.values["range"].as<Words>())
            ranges.push_back(parse_range(word));
        filter.ranges = inspect::sorted_ranges(std::move(ranges));
    }
    filter.protection = parsed.text("protection");
    if (filter.protection.find_first_not_of("rwxsp-?") != std::string::npos || filter.protection.size() > 4) {
        throw Error(ErrorKind::usage, fmt::format("'{}' is no protection", base::escape(filter.protection)),
                    "write letters that must be there (wx), or all of it (rw-p, r-x?)");
    }
    filter.mapping = parsed.text("vma");
    return filter;
}

const images::Process& only_process(const MemRequest& request) {
    const images::Process* found = nullptr;
    std::vector<std::string> pids;
    for (const images::Process& process : request.subject.checkpoint.processes) {
        if (process.state == images::ProcessState::zombie || !request.filter.selects(process.pid)) continue;
        found = &process;
        if (pids.size() < 20) pids.push_back(std::to_string(process.pid.value));
    }
    if (found != nullptr && pids.size() == 1) return *found;
    if (found == nullptr)
        throw Error(ErrorKind::not_found,
                    fmt::format("{} has no such process with memory", request.subject.name),
                    "`cprewind inspect SNAPSHOT ps` lists them");
    throw Error(ErrorKind::usage, "which process?", "choose one with --pid: " + base::join(pids, ", "));
}

inspect::ScanOptions scan_options(const MemRequest& request, Progress& progress) {
    inspect::ScanOptions options;
    options.filter = request.filter;
    options.parallel_reads = request.subject.reads_anywhere();
    uint64_t total = 0;
    for (const std::string& name : request.subject.images->list()) {
        if (!name.starts_with("pages-")) continue;
        auto file = request.subject.images->open(name);
        total += file ? file->size() : 0;
    }
    options.progress = [&progress, total](uint64_t bytes) { progress.show("reading memory", bytes, total); };
    return options;
}

std::string mapping_label(const images::Mapping* mapping) {
    if (mapping == nullptr) return "[no mapping]";
    return mapping->path.empty() ? fmt::format("[{}]", images::name_of(mapping->kind)) : mapping->path;
}

std::string mapping_protection(const images::Mapping* mapping) {
    return mapping == nullptr ? "----" : images::protection_text(*mapping);
}

std::string also_text(const std::vector<inspect::MemoryPlace>& also) {
    constexpr size_t k_most = 8;
    std::string out;
    for (size_t i = 0; i < std::min(also.size(), k_most); ++i)
        out += fmt::format(" +{}@{:#x}", also[i].pid.value, also[i].address);
    if (also.size() > k_most) out += fmt::format(" +{} more", also.size() - k_most);
    return out;
}

void put_place(Json& item, const images::Process& process, const images::Mapping* mapping, uint64_t address) {
    item["pid"] = process.pid.value;
    item["address"] = hex_number(address);
    item["mapping_start"] = mapping ? Json(hex_number(mapping->start)) : Json();
    item["protection"] = mapping ? Json(images::protection_text(*mapping)) : Json();
    item["kind"] = mapping ? Json(images::name_of(mapping->kind)) : Json();
    put_bytes(item, "path", mapping ? mapping->path : "");
}

Json also_json(const std::vector<inspect::MemoryPlace>& also) {
    Json list = Json::array();
    for (const inspect::MemoryPlace& place : also)
        list.push_back({{"pid", place.pid.value}, {"address", hex_number(place.address)}});
    return list;
}

Json summary_json(const inspect::ScanSummary& summary) {
    return {{"processes", summary.processes},
            {"bytes", summary.bytes},
            {"zero_bytes", summary.zero_bytes},
            {"complete", summary.complete}};
}

Json unread_json(const std::vector<inspect::UnreadMemory>& unread) {
    Json list = Json::array();
    for (const inspect::UnreadMemory& part : unread) {
        Json item;
        item["pid"] = part.pid.value;
        item["address"] = hex_number(part.address);
        item["bytes"] = part.bytes;
        item["state"] = images::name_of(part.state);
        item["kind"] = part.mapping ? Json(images::name_of(part.mapping->kind)) : Json();
        put_bytes(item, "path", part.mapping ? part.mapping->path : "");
        list.push_back(std::move(item));
    }
    return list;
}

void complain_of_unread(const std::vector<inspect::UnreadMemory>& unread) {
    std::map<images::PageState, uint64_t> bytes;
    for (const inspect::UnreadMemory& part : unread) bytes[part.state] += part.bytes;
    std::vector<std::string> parts;
    for (const auto& [state, count] : bytes)
        parts.push_back(fmt::format("{} {}", base::human_bytes(count), words_for(state)));
    if (!parts.empty()) complain("not in the dump, so not read: " + base::join(parts, ", "));
}

JsonListWriter::JsonListWriter(Output& output, const Json& before, const std::string& list)
    : output_(output) {
    std::string text = before.dump(-1, ' ', false, Json::error_handler_t::replace);
    text.back() = ',';
    output_.line(fmt::format("{}\"{}\":[", text, list));
}

void JsonListWriter::add(const Json& item) {
    output_.line((first_ ? "" : ",") + item.dump(-1, ' ', false, Json::error_handler_t::replace));
    first_ = false;
}

void JsonListWriter::end(const Json& after) {
    output_.line("]," + after.dump(-1, ' ', false, Json::error_handler_t::replace).substr(1));
}

}  // namespace cprewind::cli

#include "inspect/track.h"

#include <fmt/format.h>

#include <algorithm>
#include <span>
#include <vector>

#include "base/digest.h"
#include "base/text.h"
#include "images/pages.h"
#include "inspect/fds.h"
#include "inspect/ps.h"

namespace cprewind::inspect {

Trace trace_range(Moment moment, images::DumpPid pid, images::AddressRange range,
                  images::Findings& findings) {
    const images::Process* process = moment.checkpoint.find_process(pid);
    if (process == nullptr || range.end <= range.start) return {};
    images::AddressSpace memory(moment.source, *process, findings);
    constexpr uint64_t k_piece = 1u << 20;
    base::Hasher hasher;
    uint64_t held = 0, mapped = 0;
    std::string first;
    std::vector<std::byte> piece;
    for (uint64_t at = range.start; at < range.end; at += piece.size()) {
        piece.assign(static_cast<size_t>(std::min(k_piece, range.end - at)), std::byte{0});
        for (const images::PageSpan& span : memory.read(at, piece)) {
            if (span.state == images::PageState::present) held += span.bytes;
            if (span.state != images::PageState::unmapped) mapped += span.bytes;
        }
        hasher.update(piece);
        if (first.empty()) {
            first = base::to_hex(std::span<const std::byte>(piece).first(std::min<size_t>(piece.size(), 16)));
        }
    }
    if (mapped == 0) return {};
    Trace trace;
    trace.there = true;
    trace.state = hasher.finish().hex();
    trace.summary = fmt::format("{} held of {}, sha256 {}, begins {}", base::human_bytes(held),
                                base::human_bytes(range.end - range.start), trace.state.substr(0, 16), first);
    return trace;
}

Trace trace_file(const images::LayerTree& layer, const std::string& path) {
    auto entry = std::find_if(layer.entries.begin(), layer.entries.end(),
                              [&](const images::LayerEntry& candidate) { return candidate.path == path; });
    if (entry == layer.entries.end()) return {};
    Trace trace;
    trace.there = true;
    if (entry->is_whiteout()) {
        trace.state = "deleted";
        trace.summary = "deleted";
        return trace;
    }
    std::string digest = entry->digest ? entry->digest->hex() : "";
    trace.state = fmt::format("{} {} {:o} {} {} {} {}", static_cast<int>(entry->type), entry->size,
                              entry->mode, entry->uid, entry->gid, digest, entry->link_target);
    trace.summary =
        fmt::format("{} {:04o} {}:{} {}{}", images::name_of(entry->type), entry->mode, entry->uid, entry->gid,
                    base::human_bytes(entry->size), digest.empty() ? "" : ", sha256 " + digest.substr(0, 16));
    if (!entry->link_target.empty()) trace.summary += " -> " + entry->link_target;
    return trace;
}

Trace trace_variable(Moment moment, std::optional<images::DumpPid> pid, const std::string& name,
                     images::Findings& findings) {
    images::MemoryWindow memories(moment.checkpoint, moment.source, images::ExpectedStrings::environment,
                                  findings);
    for (const images::Process& process : moment.checkpoint.processes) {
        if (pid && process.pid != *pid) continue;
        bool complete = false;
        for (const std::string& entry : read_environment(memories, process, complete)) {
            if (!entry.starts_with(name + "=")) continue;
            std::string value = entry.substr(name.size() + 1);
            return {true, value, fmt::format("{} (process {} {})", value, process.pid.value, process.comm)};
        }
    }
    return {};
}

namespace {

struct Hits {
    uint64_t count = 0;
    uint64_t first = 0;
};

// Pieces of memory in order of address; what a piece ends with is looked at again with the next one.
class TextSearch {
 public:
    explicit TextSearch(const std::string& text) : text_(text) {}

    void add(uint64_t address, std::span<const std::byte> bytes) {
        if (address != next_) tail_.clear();
        next_ = address + bytes.size();
        window_.assign(tail_);
        window_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
        uint64_t base = next_ - window_.size();
        for (size_t at = window_.find(text_); at != std::string::npos; at = window_.find(text_, at + 1)) {
            if (hits_.count++ == 0) hits_.first = base + at;
        }
        tail_ = window_.substr(window_.size() - std::min(window_.size(), text_.size() - 1));
    }
    const Hits& hits() const { return hits_; }

 private:
    const std::string& text_;
    std::string tail_, window_;
    uint64_t next_ = 0;
    Hits hits_;
};

Hits search(Moment moment, const images::Process& process, const std::string& text,
            images::Findings& findings) {
    images::AddressSpace memory(moment.source, process, findings);
    TextSearch search(text);
    std::vector<std::byte> piece;
    constexpr uint64_t k_piece = 1u << 20;
    for (const images::Mapping& mapping : process.mappings) {
        memory.visit(mapping.start, mapping.size(), [&](const images::AddressSpace::Part& part) {
            if (part.state != images::PageState::present) return;
            for (uint64_t at = 0; at < part.bytes; at += piece.size()) {
                piece.resize(static_cast<size_t>(std::min(k_piece, part.bytes - at)));
                part.pages->read_run(*part.run, part.run_address + at, piece);
                search.add(part.address + at, piece);
            }
        });
    }
    return search.hits();
}

}  // namespace

Trace trace_text(Moment moment, std::optional<images::DumpPid> pid, const std::string& text,
                 images::Findings& findings) {
    Trace trace;
    if (text.empty()) return trace;
    std::vector<std::string> places;
    for (const images::Process& process : moment.checkpoint.processes) {
        if ((pid && process.pid != *pid) || process.state == images::ProcessState::zombie) continue;
        Hits hits = search(moment, process, text, findings);
        if (hits.count == 0) continue;
        trace.there = true;
        trace.state += fmt::format("{} ", process.pid.value);
        places.push_back(fmt::format("{} in process {} {} at {:#x}", base::counted(hits.count, "time"),
                                     process.pid.value, process.comm, hits.first));
    }
    trace.summary = base::join(places, ", ");
    return trace;
}

Trace trace_fds(const images::Checkpoint& checkpoint, images::DumpPid pid) {
    if (checkpoint.find_process(pid) == nullptr) return {};
    Trace trace;
    trace.there = true;
    size_t count = 0;
    std::vector<std::string> names;
    for (const FdRow& row : list_fds(checkpoint)) {
        if (row.pid != pid) continue;
        ++count;
        // The position of a file moves all the time; what is followed is which files are open.
        std::string name = fmt::format("{}:{}", row.fd, row.target);
        trace.state += name + '\n';
        names.push_back(std::move(name));
    }
    trace.summary = fmt::format("{} open: {}", count, base::join(names, " "));
    return trace;
}

}  // namespace cprewind::inspect

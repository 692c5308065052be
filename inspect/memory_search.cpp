#include "inspect/memory_search.h"

#include <algorithm>
#include <array>
#include <tuple>

#include "base/fd.h"
#include "inspect/ordered_work.h"

namespace cprewind::inspect {

namespace {

// A match of a pattern, in addresses.
struct Match {
    uint32_t pattern = 0;
    uint64_t begin = 0;
    uint64_t end = 0;
    bool cut = false;
    // What is shown of it; filled while the bytes are at hand.
    std::string text{}, before{}, after{};
};

// For anchors and word borders: what lies before the body decides whether a match begins there.
constexpr uint64_t k_look_behind = 64;
// More of a match is not shown.
constexpr size_t k_shown = 256;

class Search {
 public:
    Search(Moment moment, const PatternSet& patterns, const SearchOptions& options,
           const std::function<bool(const SearchHit&)>& found)
        : patterns_(patterns), options_(options), found_(found), objects_(map_objects(moment.checkpoint)) {
        for (size_t i = 0; i < ordered_workers(); ++i) scanners_.emplace_back(patterns);
        ends_.resize(patterns.patterns().size());
    }

    WindowWork work() {
        uint64_t context = options_.count_only ? 0 : options_.context;
        WindowWork work;
        work.before = std::max<uint64_t>(k_look_behind, context);
        work.after = patterns_.longest() + context + 1;
        work.look = [this](size_t worker, size_t slot, const MemoryWindow& window) {
            look(scanners_[worker], found_in_[slot], window);
        };
        work.finish = [this](size_t slot, const MemoryWindow& window) {
            return finish(found_in_[slot], window);
        };
        return work;
    }

 private:
    void look(PatternSet::Scanner& scanner, std::vector<Match>& matches, const MemoryWindow& window) {
        matches.clear();
        const uint64_t longest = patterns_.longest();
        scanner.scan(window.bytes, [&](uint32_t pattern, size_t from, size_t to) {
            uint64_t begin = window.begin + from, end = window.begin + to;
            if (begin < window.body_begin || begin >= window.body_end) return;
            bool cut = end - begin > longest;
            if (cut) end = begin + longest;
            // The same place with ever later ends: one match.
            if (!matches.empty() && matches.back().pattern == pattern && matches.back().begin == begin) {
                matches.back().cut = matches.back().cut || cut;
                matches.back().end = std::max(matches.back().end, end);
            } else {
                matches.push_back({pattern, begin, end, cut});
            }
        });
        if (matches.empty()) return;
        auto order = [](const Match& a, const Match& b) {
            return std::tuple(a.begin, a.pattern, b.end) < std::tuple(b.begin, b.pattern, a.end);
        };
        if (!std::is_sorted(matches.begin(), matches.end(), order))
            std::sort(matches.begin(), matches.end(), order);
        auto again = [](const Match& a, const Match& b) {
            return a.begin == b.begin && a.pattern == b.pattern;
        };
        matches.erase(std::unique(matches.begin(), matches.end(), again), matches.end());
        std::erase_if(matches,
                      [&](const Match& m) { return !window.extent.has_own(m.begin, m.end - m.begin); });
        if (options_.count_only) return;
        std::string_view all = base::as_text(window.bytes);
        for (Match& match : matches) {
            auto begin = static_cast<size_t>(match.begin - window.begin);
            auto end = static_cast<size_t>(match.end - window.begin);
            size_t context = std::min(options_.context, begin);
            match.text = all.substr(begin, std::min(k_shown, end - begin));
            match.before = all.substr(begin - context, context);
            match.after = all.substr(end, options_.context);
        }
    }

    bool finish(std::vector<Match>& matches, const MemoryWindow& window) {
        if (window.body_begin == window.extent.start()) std::fill(ends_.begin(), ends_.end(), 0);
        for (Match& match : matches) {
            if (match.begin < ends_[match.pattern]) continue;
            ends_[match.pattern] = match.end;
            const MemoryPiece& piece = window.extent.at(match.begin);
            SearchHit hit;
            hit.pattern = match.pattern;
            hit.process = &window.process;
            hit.mapping = piece.mapping;
            hit.address = match.begin;
            hit.bytes = match.end - match.begin;
            hit.cut = match.cut;
            hit.match = std::move(match.text);
            hit.before = std::move(match.before);
            hit.after = std::move(match.after);
            if (!options_.count_only)
                hit.also = places_beside(objects_, window.process.pid, piece, match.begin);
            if (!found_(hit)) return false;
        }
        return true;
    }

    const PatternSet& patterns_;
    const SearchOptions& options_;
    const std::function<bool(const SearchHit&)>& found_;
    ObjectMappings objects_;
    std::vector<PatternSet::Scanner> scanners_;
    std::array<std::vector<Match>, OrderedWork::k_slots> found_in_;
    std::vector<uint64_t> ends_;  // of each pattern's last match
};

}  // namespace

ObjectMappings map_objects(const images::Checkpoint& checkpoint) {
    ObjectMappings objects;
    for (const images::Process& process : checkpoint.processes) {
        for (const images::Mapping& mapping : process.mappings) {
            if (mapping.shares_memory()) objects[mapping.shmid].emplace_back(process.pid, &mapping);
        }
    }
    return objects;
}

std::vector<MemoryPlace> places_beside(const ObjectMappings& objects, images::DumpPid pid,
                                       const MemoryPiece& piece, uint64_t address) {
    std::vector<MemoryPlace> places;
    auto found = piece.shared && piece.mapping ? objects.find(piece.mapping->shmid) : objects.end();
    if (found == objects.end()) return places;
    uint64_t offset = piece.object_offset + (address - piece.address);
    for (const auto& [holder, mapping] : found->second) {
        if (offset < mapping->offset || offset - mapping->offset >= mapping->size()) continue;
        uint64_t there = mapping->start + (offset - mapping->offset);
        if (holder != pid || there != address) places.push_back({holder, there});
    }
    return places;
}

ScanSummary search_memory(Moment moment, const PatternSet& patterns, const SearchOptions& options,
                          const std::function<bool(const SearchHit&)>& found, images::Findings& findings) {
    Search search(moment, patterns, options, found);
    return scan_memory(moment, options.scan, search.work(), findings);
}

}  // namespace cprewind::inspect

#include "inspect/memory_strings.h"

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "inspect/ordered_work.h"

namespace cprewind::inspect {

namespace {

// More than the longest character.
constexpr uint64_t k_border = 4;

// Strings of one encoding at one alignment do not overlap, so each of these is followed on its own.
struct Lane {
    TextEncoding encoding = TextEncoding::ascii;
    bool odd = false;
};

// A string that reached the end of its window.
struct Open {
    std::string text;
    uint64_t address = 0;
    uint64_t end = 0;
    size_t characters = 0;
    bool ascii = true;
};

class Strings {
 public:
    Strings(const StringsOptions& options, const std::function<bool(const StringHit&)>& found)
        : options_(options), found_(found) {
        for (TextEncoding encoding : options.encodings) {
            bool wide = encoding == TextEncoding::utf16le || encoding == TextEncoding::utf16be;
            lanes_.push_back({encoding, false});
            if (wide) lanes_.push_back({encoding, true});
        }
        open_.resize(lanes_.size());
        for (auto& slot : slots_) slot.resize(lanes_.size());
    }

    WindowWork work() {
        WindowWork work;
        work.before = k_border;
        work.after = k_border;
        work.look = [this](size_t, size_t slot, const MemoryWindow& window) {
            for (size_t i = 0; i < lanes_.size(); ++i) {
                TextRuns& runs = slots_[slot][i];
                runs.clear();
                auto begin = static_cast<size_t>(window.body_begin - window.begin);
                auto end = static_cast<size_t>(window.body_end - window.begin);
                bool odd = lanes_[i].odd != ((window.begin & 1) != 0);
                find_text_runs(window.bytes, begin, end, lanes_[i].encoding, odd, options_.least, runs);
            }
        };
        work.finish = [this](size_t slot, const MemoryWindow& window) {
            return finish(slots_[slot], window);
        };
        return work;
    }

 private:
    bool finish(std::vector<TextRuns>& lanes, const MemoryWindow& window) {
        process_ = &window.process;
        extent_ = &window.extent;
        // The lanes take turns by address; within a lane runs are in order.
        std::vector<size_t> next(lanes.size(), 0);
        for (;;) {
            size_t lane = lanes.size();
            for (size_t i = 0; i < lanes.size(); ++i) {
                if (next[i] == lanes[i].runs.size()) continue;
                if (lane == lanes.size() || lanes[i].runs[next[i]].begin < lanes[lane].runs[next[lane]].begin)
                    lane = i;
            }
            if (lane == lanes.size()) break;
            if (!take(lane, lanes[lane], lanes[lane].runs[next[lane]++], window.begin)) return false;
        }
        bool last = window.body_end == window.extent.end();
        for (size_t i = 0; i < lanes.size(); ++i) {
            // What was open, and did not go on in this window.
            bool idle = lanes[i].runs.empty() || !lanes[i].runs.back().at_end;
            if ((last || idle) && !close(i)) return false;
        }
        return true;
    }

    bool take(size_t lane, const TextRuns& runs, const TextRun& run, uint64_t base) {
        Open& open = open_[lane];
        std::string_view text = std::string_view(runs.text).substr(run.text, run.text_bytes);
        uint64_t address = base + run.begin;
        if (!open.text.empty() && !(run.at_begin && open.end == address) && !close(lane)) return false;
        if (open.text.empty() && !run.at_end)
            return give(lane, address, run.end - run.begin, run.characters, run.ascii, text);
        if (open.text.empty()) open = {{}, address, address, 0, true};
        open.text += text;
        open.end = base + run.end;
        open.characters += run.characters;
        open.ascii = open.ascii && run.ascii;
        return (run.at_end && open.text.size() < k_string_piece) || close(lane);
    }

    bool close(size_t lane) {
        Open open = std::exchange(open_[lane], {});
        return open.text.empty() ||
               give(lane, open.address, open.end - open.address, open.characters, open.ascii, open.text);
    }

    bool give(size_t lane, uint64_t address, uint64_t bytes, size_t characters, bool ascii,
              std::string_view text) {
        if (characters < options_.least || !extent_->has_own(address, bytes)) return true;
        const MemoryPiece& piece = extent_->at(address);
        TextEncoding encoding = lanes_[lane].encoding;
        if (encoding == TextEncoding::utf8 && ascii) encoding = TextEncoding::ascii;
        return found_({process_, piece.mapping, &piece, address, bytes, encoding, text});
    }

    const StringsOptions& options_;
    const std::function<bool(const StringHit&)>& found_;
    std::vector<Lane> lanes_;
    std::vector<Open> open_;  // of each lane
    std::array<std::vector<TextRuns>, OrderedWork::k_slots> slots_;
    const images::Process* process_ = nullptr;
    const MemoryExtent* extent_ = nullptr;
};

}  // namespace

ScanSummary find_strings(Moment moment, const StringsOptions& options,
                         const std::function<bool(const StringHit&)>& found, images::Findings& findings) {
    Strings strings(options, found);
    return scan_memory(moment, options.scan, strings.work(), findings);
}

}  // namespace cprewind::inspect

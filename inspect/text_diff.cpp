#include "inspect/text_diff.h"

#include <algorithm>

#include "base/text.h"

namespace cprewind::inspect {

namespace {

constexpr uint64_t k_context = 3;
// Bound of the search's depth: its memory is the square of it.
constexpr int64_t k_most_edits = 1000;

// With their newlines: a last line without one is another line.
std::vector<std::string_view> lines_of(std::string_view text) {
    std::vector<std::string_view> lines;
    while (!text.empty()) {
        size_t end = text.find('\n');
        lines.push_back(text.substr(0, end == std::string_view::npos ? end : end + 1));
        text.remove_prefix(lines.back().size());
    }
    return lines;
}

HunkLine make_line(char mark, std::string_view line) {
    bool ended = line.ends_with('\n');
    return {mark, std::string(line.substr(0, line.size() - (ended ? 1 : 0))), !ended};
}

using Lines = std::vector<std::string_view>;

// One step of the script: an index into either list; -1 where that side takes no part.
struct Step {
    int64_t before = -1;
    int64_t after = -1;
};

// The script for a[first, old_end) and b[first, new_end), which have neither beginning nor end in common.
std::vector<Step> middle_script(const Lines& a, const Lines& b, int64_t first, int64_t old_end,
                                int64_t new_end) {
    int64_t n = old_end - first, m = new_end - first;
    std::vector<Step> steps;
    auto replace_all = [&] {
        steps.clear();
        for (int64_t i = 0; i < n; ++i) steps.push_back({first + i, -1});
        for (int64_t j = 0; j < m; ++j) steps.push_back({-1, first + j});
        return steps;
    };
    int64_t most = std::min(n + m, k_most_edits);
    // furthest[k] of each depth d: how far down diagonal k the best path of d edits reaches.
    std::vector<std::vector<int64_t>> trace;
    std::vector<int64_t> furthest(static_cast<size_t>(2 * most + 3), 0);
    auto at = [&](int64_t k) -> int64_t& { return furthest[static_cast<size_t>(k + most + 1)]; };
    for (int64_t d = 0; d <= most; ++d) {
        for (int64_t k = -d; k <= d; k += 2) {
            int64_t x = k == -d || (k != d && at(k - 1) < at(k + 1)) ? at(k + 1) : at(k - 1) + 1;
            int64_t y = x - k;
            while (x < n && y < m && a[static_cast<size_t>(first + x)] == b[static_cast<size_t>(first + y)])
                ++x, ++y;
            at(k) = x;
            if (x < n || y < m) continue;
            // Back along the path.
            while (d > 0) {
                auto& before = trace[static_cast<size_t>(d - 1)];
                auto old = [&](int64_t diagonal) { return before[static_cast<size_t>(diagonal + d)]; };
                int64_t diagonal = x - y;
                bool down = diagonal == -d || (diagonal != d && old(diagonal - 1) < old(diagonal + 1));
                int64_t from = down ? diagonal + 1 : diagonal - 1;
                int64_t from_x = old(from), from_y = from_x - from;
                while (x > from_x + (down ? 0 : 1) && y > from_y + (down ? 1 : 0)) {
                    --x, --y;
                    steps.push_back({first + x, first + y});
                }
                steps.push_back(down ? Step{-1, first + from_y} : Step{first + from_x, -1});
                x = from_x, y = from_y;
                --d;
            }
            while (x > 0 && y > 0) {
                --x, --y;
                steps.push_back({first + x, first + y});
            }
            std::reverse(steps.begin(), steps.end());
            return steps;
        }
        // Kept from -d-1 to d+1, which is what the next depth looks at.
        trace.emplace_back(furthest.begin() + (most + 1 - (d + 1)), furthest.begin() + (most + 1 + d + 2));
    }
    return replace_all();
}

std::vector<Step> script(const Lines& a, const Lines& b) {
    int64_t old_end = static_cast<int64_t>(a.size()), new_end = static_cast<int64_t>(b.size());
    int64_t first = 0;
    while (first < old_end && first < new_end &&
           a[static_cast<size_t>(first)] == b[static_cast<size_t>(first)])
        ++first;
    while (old_end > first && new_end > first &&
           a[static_cast<size_t>(old_end - 1)] == b[static_cast<size_t>(new_end - 1)]) {
        --old_end, --new_end;
    }
    std::vector<Step> steps;
    for (int64_t i = 0; i < first; ++i) steps.push_back({i, i});
    for (const Step& step : middle_script(a, b, first, old_end, new_end)) steps.push_back(step);
    for (int64_t i = old_end, j = new_end; i < static_cast<int64_t>(a.size()); ++i, ++j)
        steps.push_back({i, j});
    return steps;
}

bool is_edit(const Step& step) {
    return step.before < 0 || step.after < 0;
}

}  // namespace

std::vector<Hunk> diff_lines(std::string_view before, std::string_view after) {
    Lines a = lines_of(before), b = lines_of(after);
    std::vector<Step> steps = script(a, b);
    std::vector<Hunk> hunks;
    uint64_t old_line = 0, new_line = 0;  // taken so far
    size_t i = 0;
    while (i < steps.size()) {
        if (!is_edit(steps[i])) {
            ++i, ++old_line, ++new_line;
            continue;
        }
        uint64_t lead = std::min<uint64_t>({k_context, old_line, new_line});
        if (!hunks.empty()) {
            const Hunk& last = hunks.back();
            uint64_t past = last.old_start + last.old_lines - (last.old_lines > 0 ? 1 : 0);
            lead = std::min(lead, old_line - std::min(old_line, past));
        }
        Hunk hunk;
        hunk.old_start = old_line - lead, hunk.new_start = new_line - lead;
        for (size_t j = i - lead; j < i; ++j)
            hunk.lines.push_back(make_line(' ', a[static_cast<size_t>(steps[j].before)]));
        // On to where more than twice the context is the same.
        uint64_t calm = 0;
        while (i < steps.size() && calm <= 2 * k_context) {
            const Step& step = steps[i++];
            if (step.before >= 0 && step.after >= 0) {
                ++calm, ++old_line, ++new_line;
                hunk.lines.push_back(make_line(' ', a[static_cast<size_t>(step.before)]));
            } else if (step.before >= 0) {
                calm = 0, ++old_line;
                hunk.lines.push_back(make_line('-', a[static_cast<size_t>(step.before)]));
            } else {
                calm = 0, ++new_line;
                hunk.lines.push_back(make_line('+', b[static_cast<size_t>(step.after)]));
            }
        }
        while (calm > k_context) {
            --calm, --i, --old_line, --new_line;
            hunk.lines.pop_back();
        }
        for (const HunkLine& line : hunk.lines) {
            hunk.old_lines += line.mark != '+';
            hunk.new_lines += line.mark != '-';
        }
        if (hunk.old_lines > 0) ++hunk.old_start;
        if (hunk.new_lines > 0) ++hunk.new_start;
        hunks.push_back(std::move(hunk));
    }
    return hunks;
}

bool is_text(std::string_view bytes) {
    return base::is_utf8(bytes) && std::none_of(bytes.begin(), bytes.end(), [](char c) {
               auto byte = static_cast<unsigned char>(c);
               return byte < 0x20 && c != '\n' && c != '\t' && c != '\r' && c != '\f' && c != '\x1b';
           });
}

void add_byte_ranges(std::vector<ByteRange>& ranges, uint64_t offset, std::string_view before,
                     std::string_view after, uint64_t gap) {
    size_t size = std::min(before.size(), after.size());
    for (size_t i = 0; i < size; ++i) {
        if (before[i] == after[i]) continue;
        size_t start = i;
        while (i < size && before[i] != after[i]) ++i;
        if (!ranges.empty() && offset + start - ranges.back().end < gap) {
            ranges.back().end = offset + i;
        } else {
            ranges.push_back({offset + start, offset + i});
        }
    }
}

}  // namespace cprewind::inspect

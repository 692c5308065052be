#include "inspect/diff_strings.h"

#include <algorithm>
#include <tuple>

namespace cprewind::inspect {

namespace {

constexpr size_t k_longest = 4096;            // the rest of a longer one counts as another string
constexpr uint64_t k_most_bytes = 64u << 20;  // of one owner
constexpr uint64_t k_string_overhead = 64;    // what a map's node costs beside the text

bool printable(std::byte byte) {
    auto c = static_cast<unsigned char>(byte);
    return (c >= 0x20 && c < 0x7f) || c == '\t';
}

}  // namespace

void StringDiff::keep(Side& side) {
    if (side.pending.size() >= least_) {
        if (kept_bytes_ > k_most_bytes) {
            owner_.complete = false;
        } else if (side.found.try_emplace(side.pending, side.start).second) {
            kept_bytes_ += side.pending.size() + k_string_overhead;
        }
    }
    side.pending.clear();
}

void StringDiff::scan(Side& side, uint64_t address, std::span<const std::byte> bytes) {
    if (address != side.next) keep(side);
    for (size_t i = 0; i < bytes.size(); ++i) {
        if (!printable(bytes[i])) {
            if (!side.pending.empty()) keep(side);
            continue;
        }
        if (side.pending.empty()) side.start = address + i;
        side.pending += static_cast<char>(bytes[i]);
        if (side.pending.size() == k_longest) keep(side);
    }
    side.next = address + bytes.size();
}

void StringDiff::add(const PagePair& page) {
    if (!open_ || owner_.pid != page.pid || owner_.object != page.object) {
        close_owner();
        owner_.pid = page.pid;
        owner_.object = page.object;
        open_ = true;
    }
    scan(before_, page.address, page.before);
    scan(after_, page.address, page.after);
}

void StringDiff::close_owner() {
    if (!open_) return;
    keep(before_);
    keep(after_);
    auto collect = [&](const Side& side, const Side& other, bool appeared) {
        size_t first = owner_.changes.size();
        for (const auto& [text, address] : side.found) {
            if (!other.found.contains(text)) owner_.changes.push_back({text, address, appeared});
        }
        std::sort(owner_.changes.begin() + static_cast<std::ptrdiff_t>(first), owner_.changes.end(),
                  [](const StringChange& x, const StringChange& y) {
                      return std::tie(x.address, x.text) < std::tie(y.address, y.text);
                  });
    };
    collect(before_, after_, false);
    collect(after_, before_, true);
    if (!owner_.changes.empty() || !owner_.complete) done_.push_back(std::move(owner_));
    owner_ = {};
    before_ = {};
    after_ = {};
    kept_bytes_ = 0;
    open_ = false;
}

std::vector<OwnerStrings> StringDiff::finish() {
    close_owner();
    return std::move(done_);
}

}  // namespace cprewind::inspect

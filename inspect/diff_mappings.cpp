#include "inspect/diff_mappings.h"

#include <algorithm>
#include <limits>

namespace cprewind::inspect {

namespace {

using images::AddressRange;
using images::Mapping;
using images::Process;

// A range of addresses of which each side says one thing. Null: nothing mapped.
struct Piece {
    uint64_t start = 0;
    uint64_t end = 0;
    const Mapping* before = nullptr;
    const Mapping* after = nullptr;
};

bool same_thing(const Mapping& a, const Mapping& b) {
    if (a.kind != b.kind || a.path != b.path) return false;
    return !a.is_file() || a.offset - a.start == b.offset - b.start;  // modulo 2^64, as addresses are
}

bool is_same(const Piece& piece) {
    return piece.before && piece.after && same_thing(*piece.before, *piece.after);
}

std::vector<Piece> cut(const Process& a, const Process& b) {
    std::vector<Piece> pieces;
    size_t i = 0, j = 0;
    uint64_t place = 0;
    constexpr uint64_t k_never = std::numeric_limits<uint64_t>::max();
    while (i < a.mappings.size() || j < b.mappings.size()) {
        const Mapping* before = i < a.mappings.size() ? &a.mappings[i] : nullptr;
        const Mapping* after = j < b.mappings.size() ? &b.mappings[j] : nullptr;
        uint64_t old_start = before ? std::max(before->start, place) : k_never;
        uint64_t new_start = after ? std::max(after->start, place) : k_never;
        uint64_t start = std::min(old_start, new_start);
        uint64_t end = k_never;
        if (before) end = std::min(end, old_start == start ? before->end : old_start);
        if (after) end = std::min(end, new_start == start ? after->end : new_start);
        if (end > start) {
            pieces.push_back(
                {start, end, old_start == start ? before : nullptr, new_start == start ? after : nullptr});
        }
        place = end;
        if (before && before->end <= place) ++i;
        if (after && after->end <= place) ++j;
    }
    return pieces;
}

MappingChange make_change(MappingFate fate, const Mapping* before, const Mapping* after) {
    MappingChange change;
    change.fate = fate;
    const Mapping& named = after ? *after : *before;
    change.kind = images::name_of(named.kind);
    change.path = named.path;
    if (before) {
        change.before = {before->start, before->end};
        change.protection_before = images::protection_text(*before);
    }
    if (after) {
        change.after = {after->start, after->end};
        change.protection_after = images::protection_text(*after);
    }
    return change;
}

class MapComparison {
 public:
    MapComparison(const Process& a, const Process& b) : pieces_(cut(a, b)) {}

    MappingDiff run(const SameContent& same_content) {
        find_moved(same_content);
        for (size_t i = 0; i < pieces_.size(); ++i) take(i);
        return std::move(diff_);
    }

 private:
    // A mapping that exists on one side only, nowhere overlapping the other's same thing.
    std::vector<const Mapping*> alone(const Mapping* Piece::*side) const {
        std::vector<const Mapping*> list;
        const Mapping* shared = nullptr;
        for (const Piece& piece : pieces_) {
            const Mapping* mapping = piece.*side;
            if (mapping == nullptr) continue;
            if (is_same(piece)) {
                shared = mapping;
                if (!list.empty() && list.back() == mapping) list.pop_back();
            } else if (mapping != shared && (list.empty() || list.back() != mapping)) {
                list.push_back(mapping);
            }
        }
        return list;
    }

    void find_moved(const SameContent& same_content) {
        auto gone = alone(&Piece::before), come = alone(&Piece::after);
        constexpr size_t k_pairs = 4096;  // beyond, a hostile map would cost a product of its size
        if (!same_content || gone.size() * come.size() > k_pairs) return;
        for (const Mapping* after : come) {
            auto match = std::find_if(gone.begin(), gone.end(), [&](const Mapping* before) {
                return before != nullptr && before->kind == after->kind && before->path == after->path &&
                       before->protection == after->protection && before->offset == after->offset &&
                       same_content(*before, *after);
            });
            if (match == gone.end()) continue;
            diff_.moved.push_back({*match, after});
            *match = nullptr;
        }
    }

    bool is_moved(const Mapping* mapping) const {
        return mapping != nullptr &&
               std::any_of(diff_.moved.begin(), diff_.moved.end(), [&](const MovedMapping& pair) {
                   return pair.before == mapping || pair.after == mapping;
               });
    }

    // The piece beside `index` in which the same mapping goes on, on both sides.
    const Piece* continued(size_t index, const Mapping* Piece::*side) const {
        const Piece& piece = pieces_[index];
        if (index > 0) {
            const Piece& left = pieces_[index - 1];
            if (left.end == piece.start && left.*side == piece.*side && is_same(left)) return &left;
        }
        if (index + 1 < pieces_.size()) {
            const Piece& right = pieces_[index + 1];
            if (right.start == piece.end && right.*side == piece.*side && is_same(right)) return &right;
        }
        return nullptr;
    }

    void take(size_t index) {
        const Piece& piece = pieces_[index];
        const Mapping *before = piece.before, *after = piece.after;
        if (is_same(piece)) {
            if (images::protection_text(*before) != images::protection_text(*after)) {
                add(piece, MappingFate::protection);
            }
            return;
        }
        if (is_moved(after)) {
            if (after->start >= piece.start) add_moved(*after);
            after = nullptr;
        }
        if (is_moved(before)) before = nullptr;
        if (before && after) {
            add(piece, MappingFate::replaced);
        } else if (after) {
            const Piece* base = continued(index, &Piece::after);
            if (base != nullptr) {
                add_resized(MappingFate::grown, *base->before, *after);
            } else {
                add({piece.start, piece.end, nullptr, after}, MappingFate::added);
            }
        } else if (before) {
            const Piece* base = continued(index, &Piece::before);
            bool at_edge = piece.start == before->start || piece.end == before->end;
            if (base != nullptr && at_edge) {
                add_resized(MappingFate::shrunk, *before, *base->after);
            } else {
                add({piece.start, piece.end, before, nullptr}, MappingFate::removed);
            }
        }
    }

    // Joined to the last change when it goes on from there, on both sides with the same thing.
    void add(const Piece& piece, MappingFate fate) {
        auto goes_on = [](const Mapping* last, const Mapping* next, AddressRange range, uint64_t start) {
            if (last == nullptr || next == nullptr) return last == next;
            return range.end == start && last->kind == next->kind && last->path == next->path &&
                   images::protection_text(*last) == images::protection_text(*next);
        };
        if (!diff_.changes.empty()) {
            MappingChange& last = diff_.changes.back();
            if (last.fate == fate && goes_on(last_.before, piece.before, last.before, piece.start) &&
                goes_on(last_.after, piece.after, last.after, piece.start)) {
                if (piece.before) last.before.end = piece.end;
                if (piece.after) last.after.end = piece.end;
                last_ = piece;
                return;
            }
        }
        MappingChange change = make_change(fate, piece.before, piece.after);
        if (piece.before) change.before = {piece.start, piece.end};
        if (piece.after) change.after = {piece.start, piece.end};
        diff_.changes.push_back(std::move(change));
        last_ = piece;
    }

    void add_resized(MappingFate fate, const Mapping& before, const Mapping& after) {
        MappingChange change = make_change(fate, &before, &after);
        // Grown at both ends: once is enough.
        if (!diff_.changes.empty() && diff_.changes.back().fate == fate &&
            diff_.changes.back().before == change.before && diff_.changes.back().after == change.after) {
            return;
        }
        diff_.changes.push_back(std::move(change));
    }

    void add_moved(const Mapping& after) {
        for (const MovedMapping& pair : diff_.moved) {
            if (pair.after == &after)
                diff_.changes.push_back(make_change(MappingFate::moved, pair.before, &after));
        }
    }

    std::vector<Piece> pieces_;
    MappingDiff diff_;
    Piece last_;  // what add() added last
};

}  // namespace

MappingDiff diff_mappings(const Process& a, const Process& b, const SameContent& same_content) {
    return MapComparison(a, b).run(same_content);
}

}  // namespace cprewind::inspect

// What a writer knows by hint (store/page_index.h): hundreds of thousands of places. One allocation, where
// std::unordered_map makes one for each of them.
//
// A container chooses its pages, and so their hints: with a slot that could be foretold it could put them all behind one
// another and make every search a walk over all of them. So a slot depends on a number that nobody knows.
#pragma once

#include <bit>
#include <cstdint>
#include <random>
#include <utility>
#include <vector>

#include "base/buffer.h"

namespace cprewind::store {

template <typename Place>
class HintTable {
 public:
    HintTable() {
        std::random_device random;
        factor_ = (uint64_t{random()} << 32 | random()) | 1;
    }

    size_t size() const { return size_; }

    // Room for so many more.
    void reserve(size_t more) {
        size_t wanted = std::bit_ceil((size_ + more) * 2);
        if (wanted <= slots_.size()) return;
        std::vector<Slot> old = std::exchange(slots_, base::populated_vector<Slot>(wanted));
        for (const Slot& slot : old) {
            if (slot.hint != 0) slots_[find_slot(slot.hint)] = slot;
        }
    }

    // Of several places with one hint the first stays. A hint is never 0.
    void add(uint64_t hint, Place place) {
        if ((size_ + 1) * 2 > slots_.size()) reserve(size_ + 1);
        Slot& slot = slots_[find_slot(hint)];
        if (slot.hint != 0) return;
        slot = {hint, place};
        ++size_;
    }

    const Place* find(uint64_t hint) const {
        if (slots_.empty()) return nullptr;
        const Slot& slot = slots_[find_slot(hint)];
        return slot.hint == hint ? &slot.place : nullptr;
    }

 private:
    struct Slot {
        uint64_t hint = 0;  // 0: free
        Place place{};
    };

    // Of the hint, or the free one where it belongs; at most half of them are taken.
    size_t find_slot(uint64_t hint) const {
        size_t mask = slots_.size() - 1;
        uint64_t mixed = (hint ^ hint >> 32) * factor_;
        size_t i = (mixed ^ mixed >> 32) & mask;
        while (slots_[i].hint != 0 && slots_[i].hint != hint) i = (i + 1) & mask;
        return i;
    }

    std::vector<Slot> slots_;  // a power of two
    size_t size_ = 0;
    uint64_t factor_;
};

}  // namespace cprewind::store

// Work on numbered pieces by several threads, whose results are taken in order: each is begun in order, done beside the
// others, and finished in order, by one thread at a time. No more than k_slots are under way, which bounds the memory.
#pragma once

#include <cstddef>
#include <functional>

namespace cprewind::inspect {

struct OrderedWork {
    static constexpr size_t k_slots = 16;

    // A slot is this piece's alone from begin to finish. `begin` and `finish` each run one at a time, `work` on any
    // thread; `worker` is below the number of workers and never used by two threads at once.
    std::function<void(size_t worker, size_t piece, size_t slot)> begin;
    std::function<void(size_t worker, size_t piece, size_t slot)> work;
    std::function<bool(size_t piece, size_t slot)> finish;  // false: enough
};

// As many as there are cores, eight at most.
size_t ordered_workers();

// Until all is finished or `finish` wants no more, which makes it false. The first exception ends all, and is thrown
// again here after every thread has ended.
bool run_ordered(size_t pieces, size_t workers, const OrderedWork& work);

}  // namespace cprewind::inspect

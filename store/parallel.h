// The one way in which the store uses several cores: numbered pieces of work, taken in order by one worker
// per core.
#pragma once

#include <cstddef>
#include <functional>

namespace cprewind::store {

// Workers that for_each_piece() will use at most; each has its own buffers (about 3 MiB), so eight bound the
// memory.
size_t worker_count();

// Runs work(worker, piece) for every piece below `count`; `worker` is below worker_count() and never used by
// two threads at once. The calling thread is worker 0 and calls `between` after each of its pieces. The first
// exception stops all and is thrown again here, after every thread has ended.
void for_each_piece(size_t count, const std::function<void(size_t worker, size_t piece)>& work,
                    const std::function<void()>& between = {});

}  // namespace cprewind::store

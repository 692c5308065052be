#include "store/parallel.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace cprewind::store {

size_t worker_count() {
    return std::clamp<size_t>(std::thread::hardware_concurrency(), 1, 8);
}

void for_each_piece(size_t count, const std::function<void(size_t, size_t)>& work,
                    const std::function<void()>& between) {
    std::atomic<size_t> next{0};
    std::mutex failure_lock;
    std::exception_ptr failure;
    auto run = [&](size_t worker) {
        try {
            for (size_t piece; (piece = next.fetch_add(1)) < count;) {
                work(worker, piece);
                if (worker == 0 && between) between();
            }
        } catch (...) {
            next = count;
            std::lock_guard guard(failure_lock);
            if (!failure) failure = std::current_exception();
        }
    };
    {
        std::vector<std::jthread> threads;
        size_t workers = std::min(worker_count(), count);
        for (size_t worker = 1; worker < workers; ++worker) threads.emplace_back(run, worker);
        run(0);
    }
    if (failure) std::rethrow_exception(failure);
}

}  // namespace cprewind::store

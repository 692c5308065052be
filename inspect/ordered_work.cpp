#include "inspect/ordered_work.h"

#include <algorithm>
#include <array>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace cprewind::inspect {

namespace {

class Run {
 public:
    Run(size_t pieces, const OrderedWork& work) : pieces_(pieces), work_(work) {}

    void help(size_t worker) {
        try {
            for (size_t piece; take(worker, piece);) {
                work_.work(worker, piece, piece % OrderedWork::k_slots);
                done(piece);
            }
        } catch (...) {
            std::lock_guard guard(lock_);
            if (!failure_) failure_ = std::current_exception();
            stopped_ = true;
            room_.notify_all();
        }
    }

    bool result() {
        if (failure_) std::rethrow_exception(failure_);
        return !stopped_;
    }

 private:
    bool take(size_t worker, size_t& piece) {
        std::lock_guard order(taking_);
        {
            std::unique_lock guard(lock_);
            room_.wait(guard, [&] { return stopped_ || next_ < finished_ + OrderedWork::k_slots; });
            if (stopped_ || next_ == pieces_) return false;
            piece = next_++;
        }
        if (work_.begin) work_.begin(worker, piece, piece % OrderedWork::k_slots);
        return true;
    }

    // Whoever completes the row finishes all that is ready; the others go on meanwhile.
    void done(size_t piece) {
        std::unique_lock guard(lock_);
        ready_[piece % OrderedWork::k_slots] = true;
        if (finishing_) return;
        finishing_ = true;
        while (!stopped_ && ready_[finished_ % OrderedWork::k_slots]) {
            size_t number = finished_;
            guard.unlock();
            bool more = work_.finish(number, number % OrderedWork::k_slots);
            guard.lock();
            ready_[number % OrderedWork::k_slots] = false;
            ++finished_;
            if (!more) stopped_ = true;
            room_.notify_all();
        }
        finishing_ = false;
    }

    size_t pieces_;
    const OrderedWork& work_;
    std::mutex taking_;
    std::mutex lock_;  // of all below
    std::condition_variable room_;
    size_t next_ = 0;
    size_t finished_ = 0;
    std::array<bool, OrderedWork::k_slots> ready_{};
    bool finishing_ = false;
    bool stopped_ = false;
    std::exception_ptr failure_;
};

}  // namespace

size_t ordered_workers() {
    return std::clamp<size_t>(std::thread::hardware_concurrency(), 1, 8);
}

bool run_ordered(size_t pieces, size_t workers, const OrderedWork& work) {
    Run run(pieces, work);
    {
        std::vector<std::jthread> threads;
        for (size_t worker = 1; worker < std::min(workers, pieces); ++worker)
            threads.emplace_back([&run, worker] { run.help(worker); });
        run.help(0);
    }
    return run.result();
}

}  // namespace cprewind::inspect

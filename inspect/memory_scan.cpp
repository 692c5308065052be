#include "inspect/memory_scan.h"

#include <algorithm>

#include "inspect/ordered_work.h"

namespace cprewind::inspect {

namespace {

// A window and its scan's tables stay in the second-level cache of a core.
constexpr uint64_t k_body_bytes = 256u << 10;

struct Place {
    size_t extent = 0;
    uint64_t begin = 0;
};

std::vector<Place> cut_up(const std::vector<MemoryExtent>& extents) {
    std::vector<Place> places;
    for (size_t i = 0; i < extents.size(); ++i) {
        for (uint64_t at = extents[i].start(); at < extents[i].end();
             at += std::min(k_body_bytes, extents[i].end() - at))
            places.push_back({i, at});
    }
    return places;
}

class ProcessScan {
 public:
    ProcessScan(const images::Process& process, const WalkedMemory& walked,
                const std::vector<images::AddressSpace>& memories, const ScanOptions& options,
                const WindowWork& work, uint64_t done_before)
        : process_(process),
          extents_(walked.extents),
          places_(cut_up(walked.extents)),
          memories_(memories),
          options_(options),
          work_(work),
          buffers_(memories.size()),
          done_(done_before) {}

    bool run() {
        OrderedWork ordered;
        if (!options_.parallel_reads)
            ordered.begin = [this](size_t worker, size_t piece, size_t) { read(worker, piece); };
        ordered.work = [this](size_t worker, size_t piece, size_t slot) {
            if (options_.parallel_reads) read(worker, piece);
            MemoryWindow window = window_of(piece);
            window.bytes = buffers_[worker];
            work_.look(worker, slot, window);
        };
        ordered.finish = [this](size_t piece, size_t slot) {
            MemoryWindow window = window_of(piece);
            done_ += window.body_end - window.body_begin;
            if (options_.progress) options_.progress(done_);
            return work_.finish(slot, window);
        };
        return run_ordered(places_.size(), memories_.size(), ordered);
    }

 private:
    MemoryWindow window_of(size_t piece) const {
        const MemoryExtent& extent = extents_[places_[piece].extent];
        MemoryWindow window{process_, extent};
        window.body_begin = places_[piece].begin;
        window.body_end = window.body_begin + std::min(k_body_bytes, extent.end() - window.body_begin);
        window.begin = window.body_begin - std::min(work_.before, window.body_begin - extent.start());
        return window;
    }

    void read(size_t worker, size_t piece) {
        MemoryWindow window = window_of(piece);
        uint64_t end = window.body_end + std::min(work_.after, window.extent.end() - window.body_end);
        buffers_[worker].resize(static_cast<size_t>(end - window.begin));
        read_extent(memories_[worker], window.begin, buffers_[worker]);
    }

    const images::Process& process_;
    const std::vector<MemoryExtent>& extents_;
    std::vector<Place> places_;
    const std::vector<images::AddressSpace>& memories_;
    const ScanOptions& options_;
    const WindowWork& work_;
    std::vector<std::vector<std::byte>> buffers_;
    uint64_t done_;
};

}  // namespace

ScanSummary scan_memory(Moment moment, const ScanOptions& options, const WindowWork& work,
                        images::Findings& findings) {
    ScanSummary summary;
    SeenObjects seen;
    for (const images::Process& process : moment.checkpoint.processes) {
        if (process.state == images::ProcessState::zombie || !options.filter.selects(process.pid)) continue;
        std::vector<images::AddressSpace> memories;
        memories.emplace_back(moment.source, process, findings);
        WalkedMemory walked =
            walk_memory(process, memories[0], options.filter, seen, std::max(work.before, work.after));
        // A handle for each thread; what is odd about the images has been said.
        images::Findings said;
        size_t useful = std::min<uint64_t>(ordered_workers(), walked.own_bytes / k_body_bytes + 1);
        while (memories.size() < useful) memories.emplace_back(moment.source, process, said);
        ++summary.processes;
        summary.zero_bytes += walked.zero_bytes;
        summary.unread.insert(summary.unread.end(), walked.unread.begin(), walked.unread.end());
        bool complete = ProcessScan(process, walked, memories, options, work, summary.bytes).run();
        summary.bytes += walked.own_bytes;
        if (!complete) {
            summary.complete = false;
            break;
        }
    }
    return summary;
}

}  // namespace cprewind::inspect

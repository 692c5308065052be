#include "store/page_job.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <unordered_map>

#include "base/buffer.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/text.h"
#include "store/parallel.h"

namespace cprewind::store {
namespace {

using Page = std::span<const std::byte>;

// Starting the write-back early leaves little for the sync at the end: 2.5 GB/s instead of 0.8 on the machine where it
// was measured. Smaller steps gained nothing.
constexpr uint64_t k_write_back_step = 8 << 20;

bool equal(Page a, Page b) {
    return std::memcmp(a.data(), b.data(), a.size()) == 0;
}

// Up to a group's worth of pages on their way to be encoded. Differences are kept beside the pages they come from, since
// it may turn out that they are not worth it.
struct Batch {
    std::vector<std::byte> whole;
    std::vector<std::byte> delta;
    std::vector<PageRef> bases;
    std::vector<uint32_t> places;  // page numbers in the file
    std::vector<uint64_t> hints;

    // Keeps the memory: to give half a megabyte back and fault it in again for each group is felt.
    void clear() {
        whole.clear();
        delta.clear();
        bases.clear();
        places.clear();
        hints.clear();
    }
};

// Pages of the pack that is being written.
class OwnReader {
 public:
    Page whole(const JobContext& context, uint32_t slot) {
        size_t number = context.own.group_of(slot);
        const PageGroup& group = context.own.groups[number];
        if (number != held_) {
            held_ = SIZE_MAX;
            raw_.resize(group.bytes());
            stored_.resize(group.block.stored);
            bool whole =
                base::pread_full(context.fd, stored_, group.block.offset, context.path) == stored_.size();
            if (!whole || !decoder_.decode(group.block, stored_, raw_)) {
                throw base::Error(base::ErrorKind::io,
                                  context.path + " does not hold what was just written to it");
            }
            held_ = number;
        }
        return Page(raw_).subspan((slot - group.first_slot) * k_page_size, k_page_size);
    }

 private:
    BlockDecoder decoder_;
    std::vector<std::byte> raw_, stored_;
    size_t held_ = SIZE_MAX;
};

}  // namespace

struct PageWorker {
    explicit PageWorker(const PackSet& packs) : known(packs, GroupCheck::damage) {}
    PageReader known;
    OwnReader own;
    BlockEncoder encoder;
    base::Buffer raw{k_piece_pages * k_page_size};
    std::vector<std::byte> leader = std::vector<std::byte>(k_page_size);
    uint64_t leader_page = UINT64_MAX;  // of the file at hand
    std::vector<std::byte> kept;        // an encoded group, while another is tried
    Batch full, changed;
};

namespace {

class Job {
 public:
    Job(const JobContext& context, const images::ImageFile& file, const Prediction& predicted,
        const std::string& name)
        : context_(context), file_(file), predicted_(predicted), name_(name), size_(file.size()) {
        result_.pages = base::populated_vector<PagePlace>(predicted.pages.size());
        result_.pieces.resize((predicted.pages.size() + k_piece_pages - 1) / k_piece_pages);
        size_t count = std::min<size_t>(worker_count(), result_.pieces.size());
        while (context.workers.size() < count)
            context.workers.push_back(std::make_shared<PageWorker>(context.known));
        for (auto& worker : context.workers) worker->leader_page = UINT64_MAX;
    }

    JobResult run(const Progress& progress) {
        find_leaders();
        auto between = [&] {
            if (progress) progress(done_, size_);
        };
        for_each_piece(
            result_.pieces.size(),
            [&](size_t worker, size_t piece) { store(*context_.workers[worker], piece); }, between);
        return std::move(result_);
    }

 private:
    // Pages [first, first + count) of a piece, the last one of the file filled up with zeros.
    std::span<std::byte> read(PageWorker& worker, size_t piece) {
        uint64_t offset = piece * k_piece_pages * k_page_size;
        auto bytes = static_cast<size_t>(std::min<uint64_t>(worker.raw.size(), size_ - offset));
        read_at(offset, worker.raw.bytes().first(bytes));
        size_t padded = (bytes + k_page_size - 1) / k_page_size * k_page_size;
        std::memset(worker.raw.data() + bytes, 0, padded - bytes);
        return worker.raw.bytes().first(padded);
    }
    void read_at(uint64_t offset, std::span<std::byte> out) {
        std::lock_guard guard(read_lock_);
        if (file_.read_at(offset, out) != out.size()) {
            throw base::Error(base::ErrorKind::io,
                              fmt::format("'{}' became shorter while it was stored", base::escape(name_)));
        }
    }

    // For pages that nothing is known of: their hints, and of those with the same hint the first one.
    void find_leaders() {
        size_t pages = predicted_.pages.size();
        auto any_unknown = [&](size_t first, size_t last) {
            while (first < last && !predicted_.is_unknown(first)) ++first;
            return first < last;
        };
        if (pages == 1 || !any_unknown(0, pages)) return;
        hints_ = base::populated_vector<uint64_t>(pages);
        for_each_piece(result_.pieces.size(), [&](size_t worker, size_t piece) {
            uint64_t first = piece * k_piece_pages;
            uint64_t last = std::min<uint64_t>(first + k_piece_pages, pages);
            if (!any_unknown(first, last)) return;
            auto raw = read(*context_.workers[worker], piece);
            for (uint64_t page = first; page < last; ++page) {
                auto bytes = raw.subspan((page - first) * k_page_size, k_page_size);
                if (predicted_.is_unknown(page) && !is_zero(bytes)) hints_[page] = hint_of(bytes);
            }
        });
        std::vector<std::pair<uint64_t, uint32_t>> sorted;
        for (size_t page = 0; page < hints_.size(); ++page) {
            if (hints_[page] != 0) sorted.emplace_back(hints_[page], static_cast<uint32_t>(page));
        }
        std::sort(sorted.begin(), sorted.end());
        for (size_t i = 1, leader = 0; i < sorted.size(); ++i) {
            if (sorted[i].first != sorted[leader].first) {
                leader = i;
            } else {
                leaders_.emplace(sorted[i].second, sorted[leader].second);
            }
        }
    }

    void store(PageWorker& worker, size_t piece) {
        uint64_t first = piece * k_piece_pages;
        if (store_certain(first, std::min<uint64_t>(first + k_piece_pages, result_.pages.size()))) return;
        auto raw = read(worker, piece);
        for (size_t at = 0; at < raw.size(); at += k_page_size) {
            auto page = static_cast<uint32_t>(first + at / k_page_size);
            result_.pages[page] = place(worker, piece, page, Page(raw).subspan(at, k_page_size));
        }
        flush_full(worker, piece);
        flush_changed(worker, piece);
        done_ += std::min<uint64_t>(raw.size(), size_ - first * k_page_size);
    }

    // False when there is something to be read among the pages [first, last).
    bool store_certain(size_t first, size_t last) {
        for (size_t page = first; page < last; ++page) {
            if (!predicted_.is_certain(page)) return false;
        }
        for (size_t page = first; page < last; ++page) {
            PageRef ref = predicted_.pages[page];
            if (!ref.is_zero()) result_.pages[page] = {PagePlace::Kind::known, ref.pack, ref.slot};
        }
        done_ += std::min<uint64_t>(last * k_page_size, size_) - first * k_page_size;
        return true;
    }

    // Where the page is, or will be: pages that wait in a batch get their place when it is flushed.
    PagePlace place(PageWorker& worker, size_t piece, uint32_t page, Page bytes) {
        if (is_zero(bytes)) return {};
        PageRef guess = predicted_.pages[page];
        if (predicted_.is_certain(page) && !guess.is_zero())
            return {PagePlace::Kind::known, guess.pack, guess.slot};
        if (guess.is_zero()) return place_unknown(worker, piece, page, bytes);
        auto base = context_.known.base_of(guess);
        PageRef whole = base ? *base : guess;
        if (context_.retired[whole.pack]) return keep_whole(worker, piece, page, bytes, 0);
        Page content = known_page(worker, whole);
        if (content.empty()) return keep_whole(worker, piece, page, bytes, 0);
        if (equal(bytes, content)) return {PagePlace::Kind::known, whole.pack, whole.slot};
        worker.changed.delta.insert(worker.changed.delta.end(), bytes.begin(), bytes.end());
        auto delta = std::span(worker.changed.delta).last(k_page_size);
        exclusive_or(delta, content);
        Page known_delta = base && !context_.retired[guess.pack] ? known_page(worker, guess) : Page();
        if (!known_delta.empty() && equal(delta, known_delta)) {
            worker.changed.delta.resize(worker.changed.delta.size() - k_page_size);
            return {PagePlace::Kind::known, guess.pack, guess.slot};
        }
        Batch& batch = worker.changed;
        batch.whole.insert(batch.whole.end(), bytes.begin(), bytes.end());
        batch.bases.push_back(whole);
        batch.places.push_back(page);
        if (batch.places.size() == k_group_pages) flush_changed(worker, piece);
        return result_.pages[page];
    }

    // A page (or difference) of another pack; empty when it is damaged. That is its owners' loss, and must not become the
    // loss of a new snapshot, which then keeps the page itself.
    static Page known_page(PageWorker& worker, PageRef page) {
        try {
            return worker.known.whole(page);
        } catch (const base::Error& error) {
            if (error.kind() != base::ErrorKind::damaged) throw;
            return {};
        }
    }

    PagePlace place_unknown(PageWorker& worker, size_t piece, uint32_t page, Page bytes) {
        uint64_t hint = page < hints_.size() ? hints_[page] : hint_of(bytes);
        auto leader = leaders_.find(page);
        if (leader != leaders_.end()) {
            if (worker.leader_page != leader->second) {
                worker.leader_page = UINT64_MAX;
                std::fill(worker.leader.begin(), worker.leader.end(), std::byte{0});
                uint64_t offset = uint64_t{leader->second} * k_page_size;
                auto size = static_cast<size_t>(std::min<uint64_t>(k_page_size, size_ - offset));
                read_at(offset, std::span(worker.leader).first(size));
                worker.leader_page = leader->second;
            }
            if (equal(bytes, worker.leader)) return {PagePlace::Kind::same, leader->second, 0};
        }
        if (const uint32_t* own = context_.own_hints.find(hint)) {
            if (equal(bytes, worker.own.whole(context_, *own))) return {PagePlace::Kind::own, 0, *own};
        }
        if (const PageRef* known = context_.hints.find(hint)) {
            Page content = known_page(worker, *known);
            if (!content.empty() && equal(bytes, content))
                return {PagePlace::Kind::known, known->pack, known->slot};
        }
        return keep_whole(worker, piece, page, bytes, hint);
    }

    PagePlace keep_whole(PageWorker& worker, size_t piece, uint32_t page, Page bytes, uint64_t hint) {
        Batch& batch = worker.full;
        batch.whole.insert(batch.whole.end(), bytes.begin(), bytes.end());
        batch.places.push_back(page);
        batch.hints.push_back(hint != 0 ? hint : hint_of(bytes));
        if (batch.places.size() == k_group_pages) flush_full(worker, piece);
        return result_.pages[page];
    }

    void flush_full(PageWorker& worker, size_t piece) {
        Batch& batch = worker.full;
        if (batch.places.empty()) return;
        NewGroup group;
        auto stored = worker.encoder.encode(batch.whole, group.block);
        group.hints = std::move(batch.hints);
        finish(piece, batch, std::move(group), stored);
    }

    // Differences, unless they are more than half of what the pages themselves would be. To compress both is dear, so what
    // the pages would be is guessed first: about what their bases are.
    void flush_changed(PageWorker& worker, size_t piece) {
        Batch& batch = worker.changed;
        if (batch.places.empty()) return;
        NewGroup group;
        auto stored = worker.encoder.encode(batch.delta, group.block);
        uint64_t guess = 0;
        for (PageRef base : batch.bases) guess += stored_size(base);
        if (stored.size() > guess / 2) {
            worker.kept.assign(stored.begin(), stored.end());
            NewGroup whole;
            auto other = worker.encoder.encode(batch.whole, whole.block);
            if (worker.kept.size() > other.size() / 2) {
                for (size_t at = 0; at < batch.whole.size(); at += k_page_size) {
                    whole.hints.push_back(hint_of(Page(batch.whole).subspan(at, k_page_size)));
                }
                finish(piece, batch, std::move(whole), other);
                return;
            }
            stored = worker.kept;
        }
        group.bases = std::move(batch.bases);
        finish(piece, batch, std::move(group), stored);
    }

    // What a page takes in its pack: its share of the group.
    uint64_t stored_size(PageRef page) const {
        const PagePack& pack = context_.known.at(page.pack);
        const PageGroup& group = pack.index().groups[pack.group_of(page.slot)];
        return group.block.stored / group.pages;
    }

    void finish(size_t piece, Batch& batch, NewGroup group, Page stored) {
        group.pages = static_cast<uint32_t>(batch.places.size());
        group.block.offset = context_.end.fetch_add(stored.size());
        base::pwrite_full(context_.fd, stored, group.block.offset, context_.path);
        // Other workers' groups in this range may not be written yet: they go with the next one or the last sync.
        uint64_t step = group.block.offset / k_write_back_step;
        if ((group.block.offset + stored.size()) / k_write_back_step != step) {
            ::sync_file_range(context_.fd, static_cast<off_t>(step * k_write_back_step),
                              static_cast<off_t>(k_write_back_step), SYNC_FILE_RANGE_WRITE);
        }
        auto number = static_cast<uint32_t>(result_.pieces[piece].size());
        for (uint32_t i = 0; i < group.pages; ++i) {
            result_.pages[batch.places[i]] = {PagePlace::Kind::fresh, number, i};
        }
        result_.pieces[piece].push_back(std::move(group));
        batch.clear();
    }

    const JobContext& context_;
    const images::ImageFile& file_;
    const Prediction& predicted_;
    const std::string& name_;
    uint64_t size_;
    std::mutex read_lock_;
    std::vector<uint64_t> hints_;
    std::unordered_map<uint32_t, uint32_t> leaders_;
    std::atomic<uint64_t> done_{0};
    JobResult result_;
};

}  // namespace

JobResult store_pages(const JobContext& context, const images::ImageFile& file, const Prediction& predicted,
                      const std::string& name, const Progress& progress) {
    return Job(context, file, predicted, name).run(progress);
}

}  // namespace cprewind::store

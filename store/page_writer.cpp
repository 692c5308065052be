#include "store/page_writer.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <set>

#include "base/buffer.h"
#include "base/error.h"
#include "base/text.h"
#include "store/layout.h"
#include "store/pack_format.h"
#include "store/page_job.h"
#include "store/testing.h"

namespace cprewind::store {
namespace {

using base::Error;
using base::ErrorKind;

// Packs that a snapshot may draw from. Restoring one decodes a group of each at about the same time, so this bounds the
// time and the memory of it; when there are more, the pages of those with the fewest are stored again. Between the two
// numbers lies how often that happens.
constexpr size_t k_most_packs = 12;
constexpr size_t k_packs_after_retiring = 8;
// Pages that are looked for in other packs: 16 GiB of them; 128 MiB of memory.
constexpr size_t k_most_hints = size_t{4} << 20;

std::filesystem::path random_name(const std::filesystem::path& directory) {
    std::string pattern = (directory / "XXXXXX").string();
    pattern += k_pack_suffix;
    base::Fd fd(::mkostemps(pattern.data(), static_cast<int>(k_pack_suffix.size()), O_CLOEXEC));
    if (!fd) base::throw_errno(errno, fmt::format("create a file in {}", directory.string()));
    return pattern;
}

// Addresses of files that nobody said anything about.
std::string space_of(std::string_view file) {
    return "file:" + std::string(file);
}

uint64_t pages_in(uint64_t bytes) {
    return bytes / k_page_size + (bytes % k_page_size != 0 ? 1 : 0);
}

// Appends to `runs`, joining what goes on.
void append_page(std::vector<PageRun>& runs, PageRef page) {
    if (!runs.empty()) {
        PageRun& last = runs.back();
        bool joins = page.is_zero()
                         ? last.first.is_zero()
                         : last.first.pack == page.pack && last.first.slot + last.pages == page.slot;
        if (joins) {
            ++last.pages;
            return;
        }
    }
    runs.push_back({1, page});
}

}  // namespace

PageWriter::PageWriter(const std::filesystem::path& directory, std::shared_ptr<const PackSet> parent,
                       std::vector<std::shared_ptr<const PagePack>> others) {
    std::vector<std::shared_ptr<const PagePack>> packs;
    std::set<SnapshotId> ids;
    if (parent) {
        for (uint32_t i = 1; i <= parent->count(); ++i) {
            packs.push_back(parent->share(i));
            ids.insert(packs.back()->id());
        }
    }
    parent_packs_ = static_cast<uint32_t>(packs.size());
    if (parent) parent_groups_ = groups_of(*parent);
    for (auto& pack : others) {
        if (ids.insert(pack->id()).second) packs.push_back(std::move(pack));
    }
    known_ = std::make_shared<const PackSet>(std::move(packs));
    retired_.resize(known_->count() + 1);
    if (parent_packs_ > 0) {
        learn_parent();
        choose_retired();
    }
    // Between creation and lock a tidier may take the file for garbage and remove it: then the lock that we get is one on
    // a file without a name, and we try again.
    for (;;) {
        path_ = random_name(directory);
        testing::reached("created");
        try {
            fd_ = base::open_file(path_, O_RDWR);
        } catch (const Error& error) {
            if (error.kind() == ErrorKind::not_found) continue;
            throw;
        }
        while (::flock(fd_.get(), LOCK_EX) != 0) {
            int e = errno;
            if (e != EINTR) base::throw_errno(e, fmt::format("lock {}", path_.string()));
        }
        struct stat st {};
        if (::fstat(fd_.get(), &st) == 0 && st.st_nlink > 0) break;
    }
    try {
        base::pwrite_full(fd_.get(), base::as_bytes(make_header(k_paged_version)), 0, path_.string());
    } catch (...) {
        ::unlink(path_.c_str());
        throw;
    }
    end_ = k_header_size;
}

PageWriter::~PageWriter() {
    if (!moved_ && fd_) ::unlink(path_.c_str());
}

void PageWriter::learn_parent() {
    const PageIndex& index = known_->at(1).index();
    for (size_t file = 0; file < index.files.size(); ++file) {
        parent_files_.emplace_back(index.files[file]);
        const PagedFile& paged = index.files[file];
        if (paged.addresses.empty()) places_[space_of(paged.name)].push_back({0, paged.pages(), file, 0});
        for (const AddressRun& run : paged.addresses) {
            places_[index.spaces[run.space]].push_back({run.address, run.pages, file, run.page});
        }
    }
    for (auto& [space, places] : places_) {
        std::sort(places.begin(), places.end(),
                  [](const Place& a, const Place& b) { return a.address < b.address; });
    }
}

void PageWriter::choose_retired() {
    if (parent_packs_ <= k_most_packs) return;
    std::vector<std::pair<uint64_t, uint32_t>> pages(parent_packs_);  // pages drawn from it, number
    for (uint32_t i = 0; i < parent_packs_; ++i) pages[i].second = i + 1;
    for (const PagedFile& file : known_->at(1).index().files) {
        for (const PageRun& run : file.runs) {
            if (run.first.is_zero()) continue;
            pages[run.first.pack - 1].first += run.pages;
            for (uint64_t i = 0; i < run.pages; ++i) {
                auto base = known_->base_of({run.first.pack, static_cast<uint32_t>(run.first.slot + i)});
                if (base) ++pages[base->pack - 1].first;
            }
        }
    }
    std::sort(pages.begin(), pages.end());
    for (size_t i = 0; i < pages.size() - k_packs_after_retiring; ++i) retired_[pages[i].second] = true;
}

void PageWriter::learn_hints() {
    if (hints_known_) return;
    hints_known_ = true;
    size_t all = 0;
    for (uint32_t number = 1; number <= known_->count(); ++number)
        all += retired_[number] ? 0 : static_cast<size_t>(known_->at(number).index().full_slots());
    hints_.reserve(std::min(all, k_most_hints));
    for (uint32_t number = 1; number <= known_->count(); ++number) {
        if (retired_[number]) continue;
        const PageIndex& index = known_->at(number).index();
        const std::vector<uint64_t>& hints = known_->at(number).hints();
        size_t hint = 0;
        // Of the parent's packs only what the parent itself needs is sure to be there still (store/usage.h).
        const std::set<uint32_t>* there =
            number <= parent_packs_ ? &parent_groups_[known_->at(number).id()] : nullptr;
        for (uint32_t i = 0; i < index.groups.size(); ++i) {
            const PageGroup& group = index.groups[i];
            if (group.is_delta()) continue;
            bool usable = there == nullptr || there->contains(i);
            for (uint32_t page = 0; usable && page < group.pages && hints_.size() < k_most_hints; ++page) {
                hints_.add(hints[hint + page], PageRef{number, group.first_slot + page});
            }
            hint += group.pages;
        }
    }
}

void PageWriter::add(std::string_view name, const images::ImageFile& file, const PageAddresses& addresses,
                     const Progress& progress) {
    CPREWIND_CHECK(whole_ && !finished_);
    auto same = [&](const PagedFile& other) { return other.name == name; };
    // Names may come from somebody's archive.
    if (!is_file_name(name) || std::any_of(index_.files.begin(), index_.files.end(), same)) {
        throw Error(ErrorKind::failed,
                    fmt::format("'{}' cannot be stored: the name is {}", base::escape(name),
                                is_file_name(name) ? "there twice" : "not a safe relative path"));
    }
    PagedFile paged;
    paged.name = name;
    paged.size = file.size();
    constexpr uint64_t k_max_pages = k_max_blocks * k_group_pages;
    if (paged.pages() > k_max_pages - page_count_) {
        throw Error(ErrorKind::unsupported,
                    fmt::format("a snapshot can hold {} at most; '{}' with {} is too much",
                                base::human_bytes(k_max_pages * k_page_size), base::escape(name),
                                base::human_bytes(paged.size)));
    }
    Prediction predicted;
    predicted.pages = base::populated_vector<PageRef>(static_cast<size_t>(paged.pages()));
    auto predict = [&](const std::string& space, uint64_t address, uint64_t page, uint64_t pages) {
        auto found = places_.find(space);
        if (found == places_.end()) return;
        auto place = std::upper_bound(
            found->second.begin(), found->second.end(), address,
            [](uint64_t value, const Place& candidate) { return value < candidate.address; });
        if (place != found->second.begin()) --place;
        for (; place != found->second.end() && place->address < address + pages * k_page_size; ++place) {
            for (uint64_t i = 0; i < place->pages; ++i) {
                uint64_t there = place->address + i * k_page_size;
                if (there < address || (there - address) / k_page_size >= pages) continue;
                predicted.pages[page + (there - address) / k_page_size] =
                    parent_files_[place->file].at(place->page + i);
            }
        }
    };
    if (addresses.runs.empty() && addresses.before.empty()) predict(space_of(name), 0, 0, paged.pages());
    predict_from_before(name, addresses, predicted);
    for (const PageAddresses::Run& run : addresses.runs) {
        uint64_t page = run.offset / k_page_size;
        uint64_t pages = page < paged.pages() ? std::min(pages_in(run.bytes), paged.pages() - page) : 0;
        if (pages == 0 || run.offset % k_page_size != 0) continue;
        predict(run.space, run.address, page, pages);
        auto space = std::find(index_.spaces.begin(), index_.spaces.end(), run.space);
        if (space == index_.spaces.end()) space = index_.spaces.insert(space, run.space);
        paged.addresses.push_back(
            {static_cast<uint32_t>(space - index_.spaces.begin()), run.address, page, pages});
    }
    for (size_t page = 0; !hints_known_ && page < predicted.pages.size(); ++page) {
        if (predicted.is_unknown(page)) learn_hints();
    }

    std::atomic<uint64_t> end{end_};
    JobContext context{workers_, *known_,   retired_,       hints_, own_hints_,
                       index_,   fd_.get(), path_.string(), end};
    whole_ = false;
    JobResult result = store_pages(context, file, predicted, paged.name, progress);
    whole_ = true;
    end_ = end;
    page_count_ += paged.pages();

    // Slots are numbered in the order of the pages, whatever order the workers had.
    std::vector<std::vector<uint32_t>> first_slots(result.pieces.size());
    uint32_t slot = index_.slots();
    for (size_t piece = 0; piece < result.pieces.size(); ++piece) {
        for (NewGroup& group : result.pieces[piece]) {
            first_slots[piece].push_back(slot);
            index_.hints.insert(index_.hints.end(), group.hints.begin(), group.hints.end());
            for (size_t i = 0; i < group.hints.size(); ++i) {
                own_hints_.add(group.hints[i], static_cast<uint32_t>(slot + i));
            }
            index_.groups.push_back({group.block, slot, group.pages, std::move(group.bases)});
            slot += group.pages;
        }
    }
    auto resolve = [&](const PagePlace& place, size_t page) -> PageRef {
        switch (place.kind) {
            case PagePlace::Kind::zero:
            case PagePlace::Kind::same:
                return {};
            case PagePlace::Kind::known:
                return {place.first + 1, place.second};
            case PagePlace::Kind::own:
                return {k_own_pack, place.second};
            case PagePlace::Kind::fresh:
                return {k_own_pack, first_slots[page / k_piece_pages][place.first] + place.second};
        }
        return {};
    };
    for (size_t page = 0; page < result.pages.size(); ++page) {
        const PagePlace& place = result.pages[page];
        bool same_as = place.kind == PagePlace::Kind::same;
        append_page(paged.runs,
                    same_as ? resolve(result.pages[place.first], place.first) : resolve(place, page));
    }
    index_.files.push_back(std::move(paged));
    if (progress) progress(index_.files.back().size, index_.files.back().size);
}

void PageWriter::predict_from_before(std::string_view name, const PageAddresses& addresses,
                                     Prediction& predicted) const {
    if (parent_packs_ == 0 || addresses.before.empty()) return;
    const PageIndex& index = known_->at(1).index();
    const PagedFile* old = index.find(name);
    if (old == nullptr) return;
    const PageLocator& locator = parent_files_[static_cast<size_t>(old - index.files.data())];
    predicted.certain.resize(predicted.pages.size());
    for (const PageAddresses::Before& run : addresses.before) {
        if (run.offset % k_page_size != 0 || run.there % k_page_size != 0) continue;
        uint64_t page = run.offset / k_page_size, there = run.there / k_page_size;
        for (uint64_t left = pages_in(run.bytes); left > 0; --left, ++page, ++there) {
            if (page >= predicted.pages.size() || there >= old->pages()) break;
            PageRef ref = locator.at(there);
            predicted.pages[page] = ref;
            predicted.certain[page] = run.same && !is_retired(ref);
        }
    }
}

bool PageWriter::is_retired(PageRef page) const {
    if (page.is_zero()) return false;
    auto base = known_->base_of(page);
    return retired_[page.pack] || (base && retired_[base->pack]);
}

void PageWriter::sync_groups() {
    CPREWIND_CHECK(whole_);
    if (::fdatasync(fd_.get()) != 0) base::throw_errno(errno, fmt::format("sync {} to disk", path_.string()));
}

// Keeps of the known packs those that are used, and numbers them as the format does.
void PageWriter::finish() {
    if (finished_) return;
    finished_ = true;
    std::sort(index_.files.begin(), index_.files.end(), [](auto& a, auto& b) { return a.name < b.name; });
    std::vector<uint32_t> numbers(known_->count() + 1, 0);
    auto use = [&](uint32_t known) { numbers[known] = 1; };
    for (const PageGroup& group : index_.groups) {
        for (const PageRef& base : group.bases) use(base.pack);
    }
    for (const PagedFile& file : index_.files) {
        for (const PageRun& run : file.runs) {
            if (run.first.pack <= k_own_pack) continue;
            use(run.first.pack - 1);
            for (uint64_t i = 0; i < run.pages; ++i) {
                auto base = known_->base_of({run.first.pack - 1, static_cast<uint32_t>(run.first.slot + i)});
                if (base) use(base->pack);
            }
        }
    }
    for (uint32_t known = 1; known <= known_->count(); ++known) {
        if (numbers[known] == 0) continue;
        index_.packs.push_back(known_->at(known).id());
        numbers[known] = static_cast<uint32_t>(index_.packs.size()) + k_own_pack;
    }
    for (PageGroup& group : index_.groups) {
        for (PageRef& base : group.bases) base.pack = numbers[base.pack];
    }
    for (PagedFile& file : index_.files) {
        for (PageRun& run : file.runs) {
            if (run.first.pack > k_own_pack) run.first.pack = numbers[run.first.pack - 1];
        }
    }
}

SnapshotId PageWriter::id_for(std::string_view info) {
    CPREWIND_CHECK(whole_);
    finish();
    return id_of(index_, info);
}

void PageWriter::seal(std::string_view info, uint64_t number) {
    CPREWIND_CHECK(whole_ && info.size() <= k_max_info_size);
    finish();
    std::string tail = seal_tail(encode_page_index(index_), info, number, end_);
    base::pwrite_full(fd_.get(), base::as_bytes(tail), end_, path_.string());
    end_ += tail.size();
    // A whole fsync, for the size too.
    base::sync_file(fd_.get(), path_.string());
}

void PageWriter::move_to(const std::filesystem::path& target) {
    if (::rename(path_.c_str(), target.c_str()) != 0) {
        base::throw_errno(errno, fmt::format("rename {} to {}", path_.string(), target.string()));
    }
    path_ = target;
    moved_ = true;
}

uint64_t PageWriter::raw_bytes() const {
    uint64_t sum = 0;
    for (const PagedFile& file : index_.files) sum += file.size;
    return sum;
}

}  // namespace cprewind::store

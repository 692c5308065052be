#include "store/snapshot_source.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "base/error.h"
#include "base/text.h"
#include "store/pack_cache.h"
#include "store/pack_format.h"
#include "store/pack_reader.h"
#include "store/rows_codec.h"

namespace cprewind::store {
namespace {

using base::Error;

class PagedSource : public images::ImageSource {
 public:
    explicit PagedSource(std::shared_ptr<const PackSet> packs)
        : packs_(std::move(packs)), small_(std::make_shared<SharedReader>(*packs_)) {}

    std::vector<std::string> list() const override {
        std::vector<std::string> names;
        for (const PagedFile& file : packs_->own().index().files) names.push_back(file.name);
        return names;
    }
    std::unique_ptr<images::ImageFile> open(std::string_view name) const override {
        const PagedFile* file = packs_->own().index().find(name);
        if (file == nullptr) return nullptr;
        // Dozens of small files lie in one group, which is decoded once for all of them.
        if (file->pages() <= k_group_pages) return std::make_unique<PagedStoredFile>(packs_, *file, small_);
        return std::make_unique<PagedStoredFile>(packs_, *file);
    }
    std::string describe() const override { return packs_->own().name(); }

 private:
    std::shared_ptr<const PackSet> packs_;
    std::shared_ptr<SharedReader> small_;
};

CatalogRows rows_of(const std::shared_ptr<const PackSet>& packs) {
    const PagedFile* file = packs->own().index().find(k_rows_file);
    if (file == nullptr) return {};
    // Rows of a million files: far more than a container has, far less than what would hurt.
    constexpr uint64_t k_limit = uint64_t{256} << 20;
    if (file->size > k_limit) throw_damaged(packs->own().name(), "it has too many catalog rows");
    std::vector<std::byte> bytes(static_cast<size_t>(file->size));
    PagedStoredFile(packs, *file).read_at(0, bytes);
    return parse_rows(bytes, packs->own().name());
}

PackFacts facts_without_rows(const PagePack& own) {
    PackFacts facts = {own.number(), own.info(), own.size(), 0, {}, {}};
    for (const PagedFile& file : own.index().files)
        facts.raw_bytes += file.name == k_rows_file ? 0 : file.size;
    return facts;
}

PackFacts remaining_facts_of(const std::shared_ptr<const PackSet>& packs) {
    try {
        return facts_of(packs);
    } catch (const Error& error) {
        PackFacts facts = facts_without_rows(packs->own());
        facts.rows_lost = error.message();
        return facts;
    }
}

}  // namespace

std::filesystem::path find_pack(const Layout& layout, const SnapshotId& id) {
    std::error_code ignored;
    // Both are there when what was removed has been stored once more; the kept one may have holes.
    std::filesystem::path kept = layout.kept_pack(id), pack = layout.pack(id);
    return !std::filesystem::exists(pack, ignored) && std::filesystem::exists(kept, ignored) ? kept : pack;
}

uint32_t pack_version(const Layout& layout, const SnapshotId& id, const std::string& name) {
    base::Fd fd = base::open_file(find_pack(layout, id), O_RDONLY);
    std::array<std::byte, k_header_size> header{};
    if (base::pread_full(fd.get(), header, 0, name) != header.size())
        throw_damaged(name, "it is too short for a pack");
    return check_header(header, name);
}

std::shared_ptr<const PackSet> open_pack_set(const Layout& layout, const SnapshotId& id,
                                             const std::string& name, LostPack lost) {
    return PackCache(layout).open_set(id, name, lost);
}

void PagedStoredFile::read_page(PageRef page, std::span<std::byte> out) const {
    std::lock_guard guard(reader_->lock);
    try {
        reader_->reader.read(page, out);
    } catch (const Error& error) {
        throw Error(error.kind(),
                    fmt::format("'{}' cannot be read: {}", base::escape(file_.name), error.message()),
                    error.hint());
    }
}

size_t PagedStoredFile::read_at(uint64_t offset, std::span<std::byte> out) const {
    if (offset >= file_.size) return 0;
    auto size = static_cast<size_t>(std::min<uint64_t>(out.size(), file_.size - offset));
    std::array<std::byte, k_page_size> whole;
    for (size_t done = 0; done < size;) {
        uint64_t page = (offset + done) / k_page_size;
        auto begin = static_cast<size_t>((offset + done) % k_page_size);
        size_t part = std::min(size - done, k_page_size - begin);
        PageRef ref = locator_.at(page);
        if (ref.is_zero()) {
            uint64_t zeros = locator_.run_from(page) * k_page_size - begin;
            part = static_cast<size_t>(std::min<uint64_t>(size - done, zeros));
            std::memset(out.data() + done, 0, part);
        } else if (part == k_page_size) {
            read_page(ref, out.subspan(done, part));
        } else {
            read_page(ref, whole);
            std::memcpy(out.data() + done, whole.data() + begin, part);
        }
        done += part;
    }
    return size;
}

images::Likeness::Answer PagedStoredFile::compare(PageRef mine, const PagedStoredFile& other,
                                                  PageRef theirs) const {
    using Answer = images::Likeness::Answer;
    if (mine.is_zero() || theirs.is_zero())
        return mine.is_zero() && theirs.is_zero() ? Answer::equal : Answer::unknown;
    auto same_place = [](const PackSet& a, PageRef x, const PackSet& b, PageRef y) {
        return x.slot == y.slot && a.id_of(x.pack) == b.id_of(y.pack);
    };
    if (same_place(*packs_, mine, *other.packs_, theirs)) return Answer::equal;
    if (packs_->is_lost(mine.pack) || other.packs_->is_lost(theirs.pack)) return Answer::unknown;
    auto my_base = packs_->base_of(mine), their_base = other.packs_->base_of(theirs);
    bool one_step = (my_base && !their_base && same_place(*packs_, *my_base, *other.packs_, theirs)) ||
                    (!my_base && their_base && same_place(*packs_, mine, *other.packs_, *their_base));
    if (one_step) return Answer::different;
    if (my_base || their_base) return Answer::unknown;
    // Equal hints prove nothing, different ones do: they are of the pages' bytes.
    auto my_hint = packs_->at(mine.pack).hint_of(mine.slot);
    auto their_hint = other.packs_->at(theirs.pack).hint_of(theirs.slot);
    return my_hint && their_hint && *my_hint != *their_hint ? Answer::different : Answer::unknown;
}

images::Likeness PagedStoredFile::likeness(uint64_t offset, const images::ImageFile& other,
                                           uint64_t other_offset, uint64_t bytes) const {
    const auto* paged = dynamic_cast<const PagedStoredFile*>(&other);
    if (paged == nullptr || offset % k_page_size != 0 || other_offset % k_page_size != 0) return {};
    images::Likeness known;
    uint64_t pages =
        std::min(bytes / k_page_size, file_.pages() - std::min(file_.pages(), offset / k_page_size));
    uint64_t other_first = other_offset / k_page_size;
    pages = std::min(pages, paged->file_.pages() - std::min(paged->file_.pages(), other_first));
    for (uint64_t i = 0, step = 1; i < pages; i += step) {
        uint64_t mine = offset / k_page_size + i, theirs = other_first + i;
        auto answer = compare(locator_.at(mine), *paged, paged->locator_.at(theirs));
        if (i > 0 && answer != known.answer) break;
        known.answer = answer;
        // Two runs that begin at the same place are the same as far as both go.
        step = answer == images::Likeness::Answer::equal
                   ? std::min({locator_.run_from(mine), paged->locator_.run_from(theirs), pages - i})
                   : 1;
        known.bytes += step * k_page_size;
    }
    // Of those of which nothing is known it is at least known how many they are.
    return known;
}

PackFacts read_facts(const Layout& layout, const SnapshotId& id, const std::string& name) {
    if (pack_version(layout, id, name) != k_pack_version)
        return remaining_facts_of(open_pack_set(layout, id, name, LostPack::costs_its_pages));
    return facts_of(std::make_shared<const Pack>(layout.pack(id), id, name));
}

PackFacts facts_of(const std::shared_ptr<const PackSet>& packs) {
    PackFacts facts = facts_without_rows(packs->own());
    facts.rows = rows_of(packs);
    return facts;
}

PackFacts facts_of(const std::shared_ptr<const Pack>& pack) {
    PackFacts facts = {pack->number(), pack->info(), pack->size(), 0, read_rows(pack), {}};
    for (const FileEntry& file : pack->files()) facts.raw_bytes += file.name == k_rows_file ? 0 : file.size;
    return facts;
}

std::unique_ptr<images::ImageSource> open_snapshot(const Layout& layout, const SnapshotId& id,
                                                   const std::string& name) {
    if (pack_version(layout, id, name) == k_pack_version) {
        return std::make_unique<StoredSource>(std::make_shared<const Pack>(layout.pack(id), id, name));
    }
    return std::make_unique<PagedSource>(open_pack_set(layout, id, name, LostPack::costs_its_pages));
}

}  // namespace cprewind::store

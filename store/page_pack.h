// Reading packs of version 2: pages, wherever they lie.
#pragma once

#include <filesystem>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/buffer.h"
#include "base/error.h"
#include "base/fd.h"
#include "store/page_index.h"

namespace cprewind::store {

// How sure a reader wants to be that a group is what was stored.
enum class GroupCheck {
    digest,  // SHA-256: holds against anybody
    // XXH3 of each page (its hint), five times faster, and of differences the check of their frame, which is a tenth of
    // them: finds damage of the medium, not intent. For a writer, which compares what comes out with a page at hand: should
    // it be misled it refers to a damaged group, and whoever reads the snapshot finds that by the digest.
    damage,
};

// An open pack whose header, trailer, index and id have been checked. Immutable: any number of threads may read. Keeps
// its own descriptor, so that removing the file takes nothing away.
class PagePack {
 public:
    // `name` is what messages call it. Errors: not_found, damaged, unsupported, io.
    PagePack(const std::filesystem::path& path, const SnapshotId& id, std::string name);

    // Without its hints.
    const PageIndex& index() const { return index_; }
    // Of all whole pages in the order of their slots. Read when first asked for: they are most of an index, and only
    // writers and comparisons want them. Error: damaged when the file has been cut short since.
    const std::vector<uint64_t>& hints() const;
    const std::string& info() const { return info_; }
    const SnapshotId& id() const { return id_; }
    uint64_t number() const { return number_; }
    uint64_t size() const { return size_; }
    const std::string& name() const { return name_; }

    // As PageIndex::group_of(), without a search.
    uint32_t group_of(uint32_t slot) const;
    // What page_index.h calls a hint, of a slot that holds a whole page; nothing for a difference. Pages with different
    // hints are different.
    std::optional<uint64_t> hint_of(uint32_t slot) const;

    // The pages (or their differences) of group `i` into `raw`, which has its size; checked. Error: damaged.
    void read_group(size_t i, BlockDecoder& decoder, std::vector<std::byte>& buffer, std::span<std::byte> raw,
                    GroupCheck check = GroupCheck::digest) const;

    // Whether the hints of group `i` are those of its pages, which are `raw`. True of differences, which have none.
    bool has_its_hints(size_t i, std::span<const std::byte> raw) const;

 private:
    SnapshotId id_;
    std::string name_;
    base::Fd fd_;
    uint64_t size_ = 0;
    PageIndex index_;
    std::vector<uint32_t> landmarks_;    // the group of each 64th slot
    std::vector<uint32_t> first_hints_;  // of each group, in hints()
    uint64_t hints_offset_ = 0;          // in the file
    mutable std::once_flag hints_read_;
    mutable std::vector<uint64_t> hints_;
    std::string info_;
    uint64_t number_ = 0;
};

// Opens the pack of an id. Shared by all that a snapshot needs, so that each is opened once.
using PackOpener = std::function<std::shared_ptr<const PagePack>(const SnapshotId&)>;

// Of a pack that another one draws from, and that cannot be opened: whether the other one is good for nothing, or for what
// does not lie there.
enum class LostPack { fails, costs_its_pages };

// A pack and all others that its pages and their bases lie in, by the numbers that its references use.
class PackSet {
 public:
    // Errors: damaged when another pack holds no such slot; what opening throws, at once or (costs_its_pages) whenever
    // something in that pack is asked for.
    PackSet(std::shared_ptr<const PagePack> own, const PackOpener& open, LostPack lost = LostPack::fails);
    // Any packs, numbered from 1 in this order; none twice. For a writer, which looks for pages to refer to.
    explicit PackSet(std::vector<std::shared_ptr<const PagePack>> packs);

    const PagePack& own() const { return *packs_.front(); }
    // `number` is that of a PageRef, not 0.
    const PagePack& at(uint32_t number) const {
        if (!packs_[number - 1]) throw losses_.at(number);
        return *packs_[number - 1];
    }
    bool is_lost(uint32_t number) const { return !packs_[number - 1]; }
    // Of a lost one, too.
    const SnapshotId& id_of(uint32_t number) const {
        return is_lost(number) ? own().index().packs[number - 2] : at(number).id();
    }
    std::shared_ptr<const PagePack> share(uint32_t number) const { return packs_[number - 1]; }
    uint32_t count() const { return static_cast<uint32_t>(packs_.size()); }
    // A reference that pack `number` makes, in our numbers.
    PageRef translate(uint32_t number, PageRef theirs) const {
        return {translations_[number - 1][theirs.pack], theirs.slot};
    }
    // The base of a page that is kept as a difference; nothing when it is kept whole. Both in our numbers.
    std::optional<PageRef> base_of(PageRef page) const;

 private:
    void make_translations();

    std::vector<std::shared_ptr<const PagePack>> packs_;  // null: lost
    std::map<uint32_t, base::Error> losses_;              // by number
    std::vector<std::vector<uint32_t>> translations_;
};

// Gives pages; one per thread. Keeps the groups it decoded last.
class PageReader {
 public:
    explicit PageReader(const PackSet& packs, GroupCheck check = GroupCheck::digest)
        : packs_(packs), check_(check) {}

    // `out` has a page's size. Error: damaged.
    void read(PageRef page, std::span<std::byte> out);
    // The page of a reference to what is kept whole, valid until the next call.
    std::span<const std::byte> whole(PageRef page);

 private:
    using Key = std::pair<uint32_t, uint32_t>;  // pack, group
    struct Held {
        Key key;
        base::Buffer raw;
    };
    std::span<const std::byte> slot(PageRef page);

    const PackSet& packs_;
    GroupCheck check_;
    BlockDecoder decoder_;
    std::vector<std::byte> buffer_;
    std::list<Held> groups_;  // the one used last comes first
    std::map<Key, std::list<Held>::iterator> places_;
};

// Where each page of a file is.
class PageLocator {
 public:
    explicit PageLocator(const PagedFile& file);
    PageRef at(uint64_t page) const;
    // How many pages from `page` on are known to follow one another: consecutive slots, or zeros.
    uint64_t run_from(uint64_t page) const;

 private:
    size_t run_of(uint64_t page) const;
    const PagedFile& file_;
    std::vector<uint64_t> first_pages_;  // of each run
};

}  // namespace cprewind::store

// The files of a stored snapshot, whichever version its pack has.
#pragma once

#include <memory>
#include <mutex>
#include <string>

#include "images/image_source.h"
#include "store/layout.h"
#include "store/page_pack.h"
#include "store/repository.h"

namespace cprewind::store {

// The version that the header of the pack of `id` says. Errors: not_found, damaged, unsupported, io.
uint32_t pack_version(const Layout& layout, const SnapshotId& id, const std::string& name);

// Where the pack of an id lies: a snapshot's, or one that is kept for others after its snapshot was removed.
std::filesystem::path find_pack(const Layout& layout, const SnapshotId& id);

// Opens packs of version 2 with all that they refer to.
std::shared_ptr<const PackSet> open_pack_set(const Layout& layout, const SnapshotId& id,
                                             const std::string& name, LostPack lost = LostPack::fails);

// A reader that files share, each for one page at a time.
struct SharedReader {
    explicit SharedReader(const PackSet& packs) : reader(packs) {}
    std::mutex lock;
    PageReader reader;
};

// A file of a snapshot of version 2.
class PagedStoredFile : public images::ImageFile {
 public:
    // `reader` is of `packs`.
    PagedStoredFile(std::shared_ptr<const PackSet> packs, const PagedFile& file,
                    std::shared_ptr<SharedReader> reader)
        : packs_(std::move(packs)), file_(file), locator_(file), reader_(std::move(reader)) {}
    PagedStoredFile(const std::shared_ptr<const PackSet>& packs, const PagedFile& file)
        : PagedStoredFile(packs, file, std::make_shared<SharedReader>(*packs)) {}

    uint64_t size() const override { return file_.size; }
    size_t read_at(uint64_t offset, std::span<std::byte> out) const override;
    // By where pages lie: the same slot of the same pack is the same page; a page that is kept as a difference differs
    // from its base, and whole pages with different hints differ.
    images::Likeness likeness(uint64_t offset, const images::ImageFile& other, uint64_t other_offset,
                              uint64_t bytes) const override;

    const PackSet& packs() const { return *packs_; }
    const PagedFile& file() const { return file_; }

 private:
    images::Likeness::Answer compare(PageRef mine, const PagedStoredFile& other, PageRef theirs) const;
    void read_page(PageRef page, std::span<std::byte> out) const;

    std::shared_ptr<const PackSet> packs_;
    const PagedFile& file_;  // in *packs_
    PageLocator locator_;
    std::shared_ptr<SharedReader> reader_;
};

// What a pack says of itself, for the catalog: of either version.
struct PackFacts {
    uint64_t number = 0;
    std::string info;
    uint64_t size = 0;
    uint64_t raw_bytes = 0;  // of all files
    CatalogRows rows;
    std::string rows_lost;  // why they cannot be read; then there are none
};
// For making the catalog again: a snapshot whose rows lie in a lost pack of another one is a snapshot all the same.
PackFacts read_facts(const Layout& layout, const SnapshotId& id, const std::string& name);
PackFacts facts_of(const std::shared_ptr<const PackSet>& packs);
class Pack;
PackFacts facts_of(const std::shared_ptr<const Pack>& pack);

// What a lost pack of another snapshot holds cannot be read; the rest can. Errors: not_found when the snapshot's own pack is
// not there, damaged, unsupported, io.
std::unique_ptr<images::ImageSource> open_snapshot(const Layout& layout, const SnapshotId& id,
                                                   const std::string& name);

}  // namespace cprewind::store

// Writing a pack of version 2: files in, pages told apart, one synced file out.
//
// Of each page, in this order: all zero; the same as the parent's page at the same place; a difference to the whole page
// that the parent's is or is made from; the same as a page of another pack or of this one; else kept whole. Whether two
// pages are the same is decided by comparing them.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/fd.h"
#include "images/image_source.h"
#include "store/hint_table.h"
#include "store/page_pack.h"
#include "store/repository.h"
#include "store/usage.h"

namespace cprewind::store {

struct PageWorker;
struct Prediction;

// Owns a new file in `directory`, locked (flock) for as long as this lives, and removes it in the destructor unless
// move_to() was called. Any failure leaves the writer fit for nothing but destruction.
class PageWriter {
 public:
    // `parent` may be null. `others`: packs in which pages may be found that the parent does not have.
    PageWriter(const std::filesystem::path& directory, std::shared_ptr<const PackSet> parent,
               std::vector<std::shared_ptr<const PagePack>> others);
    ~PageWriter();
    PageWriter(const PageWriter&) = delete;
    PageWriter& operator=(const PageWriter&) = delete;

    // Names are unique. Pages are encoded and written by all cores; file.read_at() is called by one at a time.
    void add(std::string_view name, const images::ImageFile& file, const PageAddresses& addresses,
             const Progress& progress);

    // Ends the groups and syncs them: the long wait, for which no lock is needed.
    void sync_groups();
    // What the snapshot will be called; all files have been added.
    SnapshotId id_for(std::string_view info);
    // Writes index, info and trailer, and syncs. Then the file is a pack.
    void seal(std::string_view info, uint64_t number);
    // Renames the file, without syncing directories. From now on it stays.
    void move_to(const std::filesystem::path& target);

    // Without directory.
    std::string file_name() const { return path_.filename().string(); }
    uint64_t raw_bytes() const;
    uint64_t stored_bytes() const { return end_; }

 private:
    friend class FileJob;
    struct Place {
        uint64_t address = 0;
        uint64_t pages = 0;
        size_t file = 0;  // in the parent's index
        uint64_t page = 0;
    };
    void learn_parent();
    void choose_retired();
    void learn_hints();
    void predict_from_before(std::string_view name, const PageAddresses& addresses,
                             Prediction& predicted) const;
    bool is_retired(PageRef page) const;  // or its base is
    void finish();

    std::filesystem::path path_;
    base::Fd fd_;
    // All packs that pages are looked for in, the parent's first and with its numbers.
    std::shared_ptr<const PackSet> known_;
    uint32_t parent_packs_ = 0;
    std::vector<bool> retired_;  // by number in known_: new references go there no more
    std::unordered_map<std::string, std::vector<Place>>
        places_;  // of the parent, by space, sorted by address
    std::vector<PageLocator> parent_files_;
    GroupUse parent_groups_;
    bool hints_known_ = false;
    HintTable<PageRef> hints_;       // of known_
    HintTable<uint32_t> own_hints_;  // slots of this pack
    std::vector<std::shared_ptr<PageWorker>> workers_;

    PageIndex index_;  // references to known_ are one too low until finish()
    bool finished_ = false;
    uint64_t page_count_ = 0;
    uint64_t end_ = 0;   // bytes given out
    bool whole_ = true;  // no add() has failed
    bool moved_ = false;
};

}  // namespace cprewind::store

// Writing a pack: files in, one synced file out. The next pack format changes this and pack_reader, and
// nothing that uses them.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

#include "base/fd.h"
#include "images/image_source.h"
#include "store/pack_format.h"
#include "store/repository.h"

namespace cprewind::store {

// Owns a new file in `directory`, locked (flock) for as long as this lives, and removes it in the destructor
// unless move_to() was called. Any failure leaves the writer fit for nothing but destruction.
class PackWriter {
 public:
    explicit PackWriter(const std::filesystem::path& directory);
    ~PackWriter();
    PackWriter(const PackWriter&) = delete;
    PackWriter& operator=(const PackWriter&) = delete;

    // Names are unique. Blocks are encoded and written by all cores; file.read_at() is called by one at a
    // time.
    void add(std::string_view name, const images::ImageFile& file, const Progress& progress);

    // Ends the blocks and syncs them: the long wait, for which no lock is needed.
    void sync_blocks();
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
    std::filesystem::path path_;
    base::Fd fd_;
    std::vector<FileEntry> files_;
    uint64_t block_count_ = 0;
    uint64_t end_ = 0;   // bytes given out
    bool whole_ = true;  // no add() has failed
    bool moved_ = false;
};

}  // namespace cprewind::store

// Reading a pack: the files of a stored snapshot as an ImageSource.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "base/fd.h"
#include "images/image_source.h"
#include "store/pack_format.h"

namespace cprewind::store {

// An open pack whose header, index and info have been checked, id included. Immutable, so any number of
// threads may read from it. Keeps its own descriptor: removing the snapshot meanwhile takes nothing away.
class Pack {
 public:
    // `name` is what messages call it ("web@3"). Errors: not_found when there is no file, damaged,
    // unsupported, io.
    Pack(const std::filesystem::path& path, const SnapshotId& id, std::string name);

    const std::vector<FileEntry>& files() const { return tail_.files; }
    const FileEntry* find(std::string_view file_name) const;
    const std::string& info() const { return tail_.info; }
    uint64_t number() const { return tail_.number; }
    uint64_t size() const { return size_; }
    const std::string& name() const { return name_; }
    int fd() const { return fd_.get(); }

    // The raw bytes of block `i` of `file` into `raw`, which has its size; checked. `buffer` and `decoder`
    // are the caller's, one per thread. Error: damaged.
    void read_block(const FileEntry& file, size_t i, BlockDecoder& decoder, std::vector<std::byte>& buffer,
                    std::span<std::byte> raw) const;

 private:
    std::string name_;
    base::Fd fd_;
    uint64_t size_ = 0;
    PackTail tail_;
};

// A file of a stored snapshot. Keeps the last two blocks, because readers of images go forward with small
// steps and look back a little.
class StoredFile : public images::ImageFile {
 public:
    StoredFile(std::shared_ptr<const Pack> pack, const FileEntry& entry)
        : pack_(std::move(pack)), entry_(entry) {}

    uint64_t size() const override { return entry_.size; }
    size_t read_at(uint64_t offset, std::span<std::byte> out) const override;

    const Pack& pack() const { return *pack_; }
    const FileEntry& entry() const { return entry_; }

 private:
    struct CachedBlock {
        size_t index = SIZE_MAX;
        std::vector<std::byte> raw;
    };
    const CachedBlock& block(size_t index) const;

    std::shared_ptr<const Pack> pack_;
    const FileEntry& entry_;  // in *pack_
    mutable BlockDecoder decoder_;
    mutable std::vector<std::byte> buffer_;
    mutable CachedBlock newest_;
    mutable CachedBlock older_;
};

class StoredSource : public images::ImageSource {
 public:
    explicit StoredSource(std::shared_ptr<const Pack> pack) : pack_(std::move(pack)) {}

    std::vector<std::string> list() const override;
    std::unique_ptr<images::ImageFile> open(std::string_view name) const override;
    std::string describe() const override { return pack_->name(); }

 private:
    std::shared_ptr<const Pack> pack_;
};

// The rows for the catalog that travel in the pack.
CatalogRows read_rows(std::shared_ptr<const Pack> pack);

}  // namespace cprewind::store

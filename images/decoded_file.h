// What a compressed file holds, as a file: found by content, undone while reading, never on disk.
//
// gzip and zstd streams only go forward. Reading at or behind the last place goes on from there, reading
// before it starts again at the beginning of the frame (zstd) or member (gzip), which mostly is the only one;
// so whoever reads in order pays once, and whoever cannot says with expect() what will be needed. Memory is
// one window of the compression (gzip 32 KiB, zstd at most 64 MiB) and 16 MiB of expected parts, whatever the
// file claims. libzstd and ISA-L (several times faster than zlib,
// whose part is mostly its CRC) are used directly: libarchive's filters would take a zstd window of 128 MiB,
// and cannot say where damage begins.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "images/image_source.h"

namespace cprewind::images {

enum class Compression { none, gzip, zstd, other };
const char* name_of(Compression compression);

// By the first bytes. `other`: one that is known and not read (xz, bzip2, lz4).
Compression find_compression(const ImageFile& file);

class DecodedFile : public ImageFile {
 public:
    // 2^26 bytes. podman and containerd write 8 MiB, `zstd --long` 128 MiB.
    static constexpr int k_window_log = 26;

    // `compression` is gzip or zstd; a zstd window above 2^`window_log` is damage.
    DecodedFile(std::shared_ptr<const ImageFile> stored, Compression compression,
                int window_log = k_window_log);
    ~DecodedFile() override;

    // How much there is, as far as it is known: all of it once a read has met the end.
    uint64_t size() const override;
    size_t read_at(uint64_t offset, std::span<std::byte> out) const override;
    void expect(uint64_t offset, uint64_t size) const override;
    // Empty, or why the content ends before the stored bytes do.
    std::string damage() const;

 private:
    class State;
    std::unique_ptr<State> state_;
};

// A file that is part of another: `size` bytes from `begin`.
class SliceFile : public ImageFile {
 public:
    SliceFile(std::shared_ptr<const ImageFile> whole, uint64_t begin, uint64_t size)
        : whole_(std::move(whole)), begin_(begin), size_(size) {}
    uint64_t size() const override { return size_; }
    size_t read_at(uint64_t offset, std::span<std::byte> out) const override;
    void expect(uint64_t offset, uint64_t size) const override;

 private:
    std::shared_ptr<const ImageFile> whole_;
    uint64_t begin_;
    uint64_t size_;
};

// A file whose content is at hand.
class BytesFile : public ImageFile {
 public:
    explicit BytesFile(std::shared_ptr<const std::string> content) : content_(std::move(content)) {}
    uint64_t size() const override { return content_->size(); }
    size_t read_at(uint64_t offset, std::span<std::byte> out) const override;

 private:
    std::shared_ptr<const std::string> content_;
};

}  // namespace cprewind::images

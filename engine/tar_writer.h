// A tar stream in one zstd frame, written forwards: to a file or a pipe.
//
// ustar headers; a member of 8 GiB or more has its size as GNU tar writes it (base-256). Names are at most 100 bytes.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

struct ZSTD_CCtx_s;

namespace cprewind::engine {

class TarWriter {
 public:
    // Writes to `fd`; `name` is what messages call it.
    TarWriter(int fd, std::string name);
    ~TarWriter();
    TarWriter(const TarWriter&) = delete;
    TarWriter& operator=(const TarWriter&) = delete;

    // Begins a regular file; exactly `size` bytes of put() must follow.
    void begin(std::string_view name, uint64_t size, int64_t mtime_s);
    void put(std::span<const std::byte> bytes);
    void add(std::string_view name, std::string_view content, int64_t mtime_s);
    // The end of archive and frame.
    void finish();

 private:
    void compress(std::span<const std::byte> bytes, bool end);
    void pad();

    int fd_;
    std::string name_;
    ZSTD_CCtx_s* context_;
    std::vector<std::byte> buffer_;
    uint64_t left_ = 0;     // of the member at hand
    uint64_t written_ = 0;  // tar bytes in all
};

}  // namespace cprewind::engine

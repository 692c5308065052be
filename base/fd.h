// The one owner of a file descriptor, and the few ways in which this program reads and writes files.
//
// Every function either does all it says or throws Error naming the path; EINTR and short transfers are dealt
// with here and nowhere else.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace cprewind::base {

class Fd {
 public:
    Fd() = default;
    explicit Fd(int raw) : raw_(raw) {}
    Fd(Fd&& other) noexcept : raw_(std::exchange(other.raw_, -1)) {}
    Fd& operator=(Fd&& other) noexcept;
    ~Fd() { reset(); }

    int get() const { return raw_; }
    explicit operator bool() const { return raw_ >= 0; }
    int release() { return std::exchange(raw_, -1); }
    void reset();

 private:
    int raw_ = -1;
};

// open(2) with O_CLOEXEC added; throws on failure.
Fd open_file(const std::filesystem::path& path, int flags, unsigned mode = 0600);

// Reads up to out.size() bytes at `offset`; fewer only at the end of the file. `name` is for the message.
size_t pread_full(int fd, std::span<std::byte> out, uint64_t offset, std::string_view name);

// Reads from a stream until out is full or the end; returns the bytes read.
size_t read_full(int fd, std::span<std::byte> out, std::string_view name);

void write_full(int fd, std::span<const std::byte> data, std::string_view name);
void pwrite_full(int fd, std::span<const std::byte> data, uint64_t offset, std::string_view name);

uint64_t file_size(int fd, std::string_view name);

// The whole file as a string, at most `limit` bytes: a larger file is an Error, not a truncated answer.
std::string read_file(const std::filesystem::path& path, uint64_t limit = 64u << 20);

// Replaces `path` as a whole: temporary file beside it, fsync, rename, fsync of the directory.
void replace_file(const std::filesystem::path& path, std::string_view content, unsigned mode = 0600);

// An fsync error is final: never retried and called good.
void sync_file(int fd, std::string_view name);
void sync_directory(const std::filesystem::path& path);

// Makes `path` (and parents) as 0700 directories when absent.
void make_private_directory(const std::filesystem::path& path);

// A new, empty 0700 directory named `prefix`XXXXXX below `parent`, removed with all it holds in the
// destructor unless kept.
class TemporaryDirectory {
 public:
    TemporaryDirectory() = default;
    TemporaryDirectory(const std::filesystem::path& parent, std::string_view prefix);
    TemporaryDirectory(TemporaryDirectory&& other) noexcept : path_(std::exchange(other.path_, {})) {}
    TemporaryDirectory& operator=(TemporaryDirectory&& other) noexcept;
    ~TemporaryDirectory() { remove(); }

    const std::filesystem::path& path() const { return path_; }
    void remove() noexcept;

 private:
    std::filesystem::path path_;
};

inline std::span<const std::byte> as_bytes(std::string_view text) {
    return std::as_bytes(std::span(text.data(), text.size()));
}
inline std::string_view as_text(std::span<const std::byte> bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace cprewind::base

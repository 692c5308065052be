#include "engine/tar_writer.h"

#include <fmt/format.h>
#include <zstd.h>

#include <array>
#include <cstring>

#include "base/error.h"
#include "base/fd.h"

namespace cprewind::engine {
namespace {

using base::Error;
using base::ErrorKind;

constexpr size_t k_record = 512;
constexpr uint64_t k_octal_limit = uint64_t{1} << 33;  // what eleven octal digits hold

size_t checked(size_t result) {
    if (ZSTD_isError(result) != 0)
        throw Error(ErrorKind::failed, fmt::format("zstd: {}", ZSTD_getErrorName(result)));
    return result;
}

void put_text(std::array<char, k_record>& header, size_t at, std::string_view text) {
    std::memcpy(header.data() + at, text.data(), text.size());
}

void put_size(std::array<char, k_record>& header, uint64_t size) {
    constexpr size_t k_at = 124, k_length = 12;
    if (size < k_octal_limit) return put_text(header, k_at, fmt::format("{:011o}", size));
    header[k_at] = static_cast<char>(0x80);
    for (size_t i = 0; i < 8; ++i)
        header[k_at + k_length - 1 - i] = static_cast<char>(size >> (8 * i) & 0xff);
}

}  // namespace

TarWriter::TarWriter(int fd, std::string name)
    : fd_(fd), name_(std::move(name)), context_(ZSTD_createCCtx()), buffer_(ZSTD_CStreamOutSize()) {
    if (context_ == nullptr) throw std::bad_alloc();
    checked(ZSTD_CCtx_setParameter(context_, ZSTD_c_compressionLevel, 1));
    checked(ZSTD_CCtx_setParameter(context_, ZSTD_c_checksumFlag, 1));
    // Refused by a library without threads, which then does it in ours.
    ZSTD_CCtx_setParameter(context_, ZSTD_c_nbWorkers, 2);
}

TarWriter::~TarWriter() {
    ZSTD_freeCCtx(context_);
}

void TarWriter::begin(std::string_view name, uint64_t size, int64_t mtime_s) {
    CPREWIND_CHECK(left_ == 0);
    if (name.empty() || name.size() > 100)
        throw Error(ErrorKind::unsupported,
                    fmt::format("the file name '{}' is too long for an export", name));
    std::array<char, k_record> header{};
    put_text(header, 0, name);
    put_text(header, 100, "0000600");
    put_text(header, 108, "0000000");
    put_text(header, 116, "0000000");
    put_size(header, size);
    put_text(header, 136, fmt::format("{:011o}", mtime_s < 0 ? 0 : mtime_s));
    put_text(header, 148, "        ");
    header[156] = '0';
    put_text(header, 257,
             std::string_view("ustar\0"
                              "00",
                              8));
    unsigned sum = 0;
    for (char c : header) sum += static_cast<unsigned char>(c);
    put_text(header, 148, fmt::format("{:06o}", sum));
    header[154] = '\0';
    compress(std::as_bytes(std::span(header)), false);
    left_ = size;
    pad();
}

void TarWriter::put(std::span<const std::byte> bytes) {
    CPREWIND_CHECK(bytes.size() <= left_);
    compress(bytes, false);
    left_ -= bytes.size();
    pad();
}

// After the last byte of a member.
void TarWriter::pad() {
    static const std::array<std::byte, k_record> k_zeros{};
    if (left_ == 0 && written_ % k_record != 0)
        compress(std::span(k_zeros).first(k_record - static_cast<size_t>(written_ % k_record)), false);
}

void TarWriter::add(std::string_view name, std::string_view content, int64_t mtime_s) {
    begin(name, content.size(), mtime_s);
    if (!content.empty()) put(base::as_bytes(content));
}

void TarWriter::finish() {
    CPREWIND_CHECK(left_ == 0);
    static const std::array<std::byte, 2 * k_record> k_end{};
    compress(k_end, true);
}

void TarWriter::compress(std::span<const std::byte> bytes, bool end) {
    ZSTD_inBuffer in{bytes.data(), bytes.size(), 0};
    size_t left = 1;
    while (in.pos < in.size || (end && left != 0)) {
        ZSTD_outBuffer out{buffer_.data(), buffer_.size(), 0};
        left = checked(ZSTD_compressStream2(context_, &out, &in, end ? ZSTD_e_end : ZSTD_e_continue));
        base::write_full(fd_, std::span<const std::byte>(buffer_).first(out.pos), name_);
    }
    written_ += bytes.size();
}

}  // namespace cprewind::engine

#include "images/decoded_file.h"

#include <fmt/format.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <mutex>
#include <optional>
#include <vector>

#include "base/error.h"

namespace cprewind::images {

namespace {

constexpr size_t k_input_bytes = 128 << 10;
constexpr size_t k_skip_bytes = 256 << 10;
// 2^26 bytes. podman and containerd write 8 MiB, `zstd --long` 128 MiB.
constexpr int k_zstd_window_log = 26;
// Memory that compresses to nothing exists (a heap full of one value), so a high ratio alone proves nothing:
// only both together are taken for a bomb. gzip itself cannot exceed 1032.
constexpr uint64_t k_bomb_bytes = uint64_t{8} << 30;
constexpr uint64_t k_bomb_ratio = 1000;

// One pass over the compressed stream.
class Decoder {
 public:
    virtual ~Decoder() = default;
    // Consumes from `input` and writes to `out`; returns what was written.
    virtual size_t step(std::span<const std::byte>& input, std::span<std::byte> out) = 0;
    bool at_boundary = true;  // the stream may end here: a member or frame is complete
    std::string fault;        // why it cannot go on
};

class ZstdDecoder : public Decoder {
 public:
    ZstdDecoder() : context_(ZSTD_createDCtx(), ZSTD_freeDCtx) {
        CPREWIND_CHECK(context_ != nullptr);
        ZSTD_DCtx_setParameter(context_.get(), ZSTD_d_windowLogMax, k_zstd_window_log);
    }
    size_t step(std::span<const std::byte>& input, std::span<std::byte> out) override {
        ZSTD_inBuffer in{input.data(), input.size(), 0};
        ZSTD_outBuffer to{out.data(), out.size(), 0};
        size_t left = ZSTD_decompressStream(context_.get(), &to, &in);
        if (ZSTD_isError(left) != 0) fault = ZSTD_getErrorName(left);
        at_boundary = left == 0;
        input = input.subspan(in.pos);
        return to.pos;
    }

 private:
    std::unique_ptr<ZSTD_DCtx, size_t (*)(ZSTD_DCtx*)> context_;
};

class GzipDecoder : public Decoder {
 public:
    // 15 + 16: the largest window there is, and a gzip head.
    GzipDecoder() { CPREWIND_CHECK(inflateInit2(&stream_, 15 + 16) == Z_OK); }
    ~GzipDecoder() override { inflateEnd(&stream_); }
    size_t step(std::span<const std::byte>& input, std::span<std::byte> out) override {
        // Members follow each other (pigz, bgzip), and zeros may pad the last.
        if (at_boundary) {
            while (between_ && !input.empty() && input.front() == std::byte{0}) input = input.subspan(1);
            if (input.empty()) return 0;
            at_boundary = false;
        }
        auto* bytes = reinterpret_cast<const Bytef*>(input.data());
        stream_.next_in = const_cast<Bytef*>(bytes);
        stream_.avail_in = static_cast<uInt>(input.size());
        stream_.next_out = reinterpret_cast<Bytef*>(out.data());
        stream_.avail_out = static_cast<uInt>(out.size());
        int result = inflate(&stream_, Z_NO_FLUSH);
        input = input.subspan(input.size() - stream_.avail_in);
        if (result == Z_STREAM_END) {
            at_boundary = between_ = true;
            inflateReset(&stream_);
        } else if (result != Z_OK && result != Z_BUF_ERROR) {
            fault = stream_.msg != nullptr ? stream_.msg : "invalid data";
        }
        return out.size() - stream_.avail_out;
    }

 private:
    z_stream stream_{};
    bool between_ = false;
};

std::unique_ptr<Decoder> make_decoder(Compression compression) {
    if (compression == Compression::zstd) return std::make_unique<ZstdDecoder>();
    CPREWIND_CHECK(compression == Compression::gzip);
    return std::make_unique<GzipDecoder>();
}

}  // namespace

const char* name_of(Compression compression) {
    switch (compression) {
        case Compression::none:
            return "none";
        case Compression::gzip:
            return "gzip";
        case Compression::zstd:
            return "zstd";
        case Compression::other:
            return "other";
    }
    return "other";
}

Compression find_compression(const ImageFile& file) {
    std::array<std::byte, 6> head{};
    size_t got = file.read_at(0, head);
    auto begins = [&](std::string_view magic) {
        return got >= magic.size() && std::memcmp(head.data(), magic.data(), magic.size()) == 0;
    };
    if (begins("\x1f\x8b")) return Compression::gzip;
    if (begins("\x28\xb5\x2f\xfd")) return Compression::zstd;
    // A frame to be skipped, which tools put before the first real one: 0x184D2A5x.
    if (got >= 4 && (head[0] & std::byte{0xf0}) == std::byte{0x50} &&
        std::memcmp(&head[1], "\x2a\x4d\x18", 3) == 0)
        return Compression::zstd;
    if (begins("\xfd"
               "7zXZ") ||
        begins("BZh") || begins("\x04\x22\x4d\x18"))
        return Compression::other;
    return Compression::none;
}

class DecodedFile::State {
 public:
    State(std::shared_ptr<const ImageFile> stored, Compression compression)
        : stored_(std::move(stored)), compression_(compression), input_(k_input_bytes) {}

    uint64_t known_size() {
        std::lock_guard lock(mutex_);
        return end_.value_or(std::max(position_, furthest_));
    }
    std::string damage() {
        std::lock_guard lock(mutex_);
        return damage_;
    }

    size_t read(uint64_t offset, std::span<std::byte> out) {
        std::lock_guard lock(mutex_);
        if (end_ && offset >= *end_) return 0;
        if (!decoder_ || offset < position_) restart();
        std::vector<std::byte> skipped;
        while (position_ < offset) {
            skipped.resize(k_skip_bytes);
            auto part = std::span(skipped).first(
                static_cast<size_t>(std::min<uint64_t>(offset - position_, k_skip_bytes)));
            if (decode(part) < part.size()) return 0;
        }
        return decode(out);
    }

 private:
    void restart() {
        decoder_ = make_decoder(compression_);
        position_ = stored_offset_ = 0;
        left_ = {};
    }

    // Fills `out`; less only at the end, which is then known.
    size_t decode(std::span<std::byte> out) {
        size_t done = 0;
        while (done < out.size() && !(end_ && position_ >= *end_)) {
            if (left_.empty()) {
                size_t got = stored_->read_at(stored_offset_, input_);
                stored_offset_ += got;
                left_ = std::span<const std::byte>(input_).first(got);
                if (got == 0 && decoder_->at_boundary) {
                    end_ = position_;
                    break;
                }
                ended_ = got == 0;
            }
            auto rest = out.subspan(done);
            if (end_)
                rest = rest.first(static_cast<size_t>(std::min<uint64_t>(rest.size(), *end_ - position_)));
            size_t before = left_.size();
            size_t got = decoder_->step(left_, rest);
            done += got;
            position_ += got;
            furthest_ = std::max(furthest_, position_);
            if (!decoder_->fault.empty()) {
                stop(fmt::format("its {} data are damaged near byte {} ({})", name_of(compression_),
                                 stored_offset_ - left_.size(), decoder_->fault));
            } else if (ended_ && got == 0 && !decoder_->at_boundary) {
                stop(fmt::format("its {} data end in the middle, at byte {}", name_of(compression_),
                                 stored_offset_));
            } else if (got == 0 && left_.size() == before && before > 0) {
                stop(fmt::format("its {} data make no progress at byte {}", name_of(compression_),
                                 stored_offset_));
            } else if (position_ > k_bomb_bytes && position_ / k_bomb_ratio > stored_offset_) {
                stop(fmt::format(
                    "its first {} bytes grew to {}, which no checkpoint does; what follows is not read",
                    stored_offset_, position_));
            }
        }
        return done;
    }

    void stop(std::string why) {
        if (end_) return;
        damage_ = std::move(why);
        end_ = position_;
    }

    std::mutex mutex_;
    std::shared_ptr<const ImageFile> stored_;
    Compression compression_;
    std::unique_ptr<Decoder> decoder_;
    std::vector<std::byte> input_;
    std::span<const std::byte> left_;
    uint64_t stored_offset_ = 0;
    uint64_t position_ = 0;
    uint64_t furthest_ = 0;
    bool ended_ = false;
    std::optional<uint64_t> end_;
    std::string damage_;
};

DecodedFile::DecodedFile(std::shared_ptr<const ImageFile> stored, Compression compression)
    : state_(std::make_unique<State>(std::move(stored), compression)) {}
DecodedFile::~DecodedFile() = default;
uint64_t DecodedFile::size() const {
    return state_->known_size();
}
size_t DecodedFile::read_at(uint64_t offset, std::span<std::byte> out) const {
    return state_->read(offset, out);
}
std::string DecodedFile::damage() const {
    return state_->damage();
}

size_t SliceFile::read_at(uint64_t offset, std::span<std::byte> out) const {
    if (offset >= size_) return 0;
    return whole_->read_at(begin_ + offset,
                           out.first(static_cast<size_t>(std::min<uint64_t>(out.size(), size_ - offset))));
}

size_t BytesFile::read_at(uint64_t offset, std::span<std::byte> out) const {
    if (offset >= content_->size()) return 0;
    size_t size = std::min<size_t>(out.size(), content_->size() - static_cast<size_t>(offset));
    std::memcpy(out.data(), content_->data() + offset, size);
    return size;
}

}  // namespace cprewind::images

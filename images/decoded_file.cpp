#include "images/decoded_file.h"

#include <fmt/format.h>
#include <isa-l/igzip_lib.h>
#include <zstd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <future>
#include <map>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "base/error.h"

namespace cprewind::images {

namespace {

constexpr size_t k_input_bytes = 128 << 10;
// ISA-L may look so many bytes beyond its input.
constexpr size_t k_input_slop = 16;
constexpr size_t k_skip_bytes = 256 << 10;
// Who skips further than this has the stored bytes read in larger pieces, each while the one before is decoded: copying
// them out of the page cache takes a quarter of the time of decoding them.
constexpr uint64_t k_long_way = 16u << 20;
constexpr size_t k_long_way_input_bytes = 2 << 20;
// Of the bytes just decoded these many stay at hand: who reads a little back (the last byte of a member, to
// see whether it is there) does not start again.
constexpr size_t k_tail_bytes = 64 << 10;
// All expected parts together.
constexpr uint64_t k_expected_bytes = 16u << 20;
// Places to start from; a stream of tiny frames needs no place for each.
constexpr uint64_t k_start_distance = 1u << 20;
constexpr size_t k_starts_limit = 100'000;
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
    explicit ZstdDecoder(int window_log) : context_(ZSTD_createDCtx(), ZSTD_freeDCtx) {
        CPREWIND_CHECK(context_ != nullptr);
        ZSTD_DCtx_setParameter(context_.get(), ZSTD_d_windowLogMax, window_log);
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
    // `between`: it does not start at the beginning of the file, but between two members.
    explicit GzipDecoder(bool between) : between_(between) { isal_inflate_init(&state_); }
    size_t step(std::span<const std::byte>& input, std::span<std::byte> out) override {
        // Members follow each other (pigz, bgzip), and zeros may pad the last.
        if (at_boundary) {
            while (between_ && !input.empty() && input.front() == std::byte{0}) input = input.subspan(1);
            if (input.empty()) return 0;
            isal_inflate_reset(&state_);
            state_.crc_flag = ISAL_GZIP;  // head and checksum are its to read
            at_boundary = false;
        }
        auto* bytes = reinterpret_cast<const uint8_t*>(input.data());
        state_.next_in = const_cast<uint8_t*>(bytes);
        state_.avail_in = static_cast<uint32_t>(input.size());
        state_.next_out = reinterpret_cast<uint8_t*>(out.data());
        state_.avail_out = static_cast<uint32_t>(out.size());
        int result = isal_inflate(&state_);
        size_t written = out.size() - std::min<size_t>(state_.avail_out, out.size());
        if (result < 0 || state_.avail_in > input.size()) {
            // What it says of the input is then not to be believed: ISA-L 2.30 counts below zero.
            fault = message_of(result);
            return written;
        }
        input = input.subspan(input.size() - state_.avail_in);
        if (state_.block_state == ISAL_BLOCK_FINISH) at_boundary = between_ = true;
        return written;
    }

 private:
    static const char* message_of(int result) {
        switch (result) {
            case ISAL_INVALID_BLOCK:
                return "no such kind of block";
            case ISAL_INVALID_SYMBOL:
                return "no such code";
            case ISAL_INVALID_LOOKBACK:
                return "a repetition of what was not there";
            case ISAL_INVALID_WRAPPER:
                return "no head of gzip";
            case ISAL_UNSUPPORTED_METHOD:
                return "no such method";
            case ISAL_INCORRECT_CHECKSUM:
                return "wrong checksum";
        }
        return "invalid data";
    }

    inflate_state state_;
    bool between_;
};

std::unique_ptr<Decoder> make_decoder(Compression compression, int window_log, bool between) {
    if (compression == Compression::zstd) return std::make_unique<ZstdDecoder>(window_log);
    CPREWIND_CHECK(compression == Compression::gzip);
    return std::make_unique<GzipDecoder>(between);
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
    State(std::shared_ptr<const ImageFile> stored, Compression compression, int window_log)
        : stored_(std::move(stored)),
          compression_(compression),
          window_log_(window_log),
          input_(k_input_bytes + k_input_slop) {}

    uint64_t known_size() {
        std::lock_guard lock(mutex_);
        return end_.value_or(std::max(position_, furthest_));
    }
    std::string damage() {
        std::lock_guard lock(mutex_);
        return damage_;
    }

    void expect(uint64_t offset, uint64_t size) {
        std::lock_guard lock(mutex_);
        if (wanted_.empty()) wanted_bytes_ = 0;
        if (size == 0 || size > k_expected_bytes - std::min(wanted_bytes_, k_expected_bytes)) return;
        wanted_bytes_ += size;
        uint64_t& known = wanted_[offset];
        known = std::max(known, size);
    }

    size_t read(uint64_t offset, std::span<std::byte> out) {
        std::lock_guard lock(mutex_);
        if (!wanted_.empty()) fetch_expected();
        if (end_ && offset >= *end_) return 0;
        if (copy_fetched(offset, out)) return out.size();
        size_t done = copy_tail(offset, out);
        if (done > 0) return done + decode_and_keep(out.subspan(done));
        return move_to(offset) ? decode_and_keep(out) : 0;
    }

 private:
    struct Start {
        uint64_t position = 0;
        uint64_t stored_offset = 0;
    };

    // While it lives, load_input reads ahead. No thread outlives it: who calls us may fork.
    struct ReadAhead {
        ReadAhead(State& of, bool wanted) : state(of) { state.read_ahead_ = wanted; }
        ~ReadAhead() {
            state.read_ahead_ = false;
            state.next_ = {};
        }
        State& state;
    };

    // Starts again at the last start that is not behind `offset`.
    void restart(uint64_t offset) {
        auto start = std::upper_bound(starts_.begin(), starts_.end(), offset,
                                      [](uint64_t wanted, const Start& s) { return wanted < s.position; });
        --start;
        decoder_ = make_decoder(compression_, window_log_, start->position > 0);
        position_ = start->position;
        stored_offset_ = start->stored_offset;
        left_ = {};
        tail_.clear();
        ended_ = false;
    }

    // False when the end comes before.
    bool move_to(uint64_t offset) {
        bool later_start = starts_.back().position > position_ && starts_.back().position <= offset;
        if (!decoder_ || offset < position_ || later_start) restart(offset);
        ReadAhead ahead(*this, offset - position_ > k_long_way);
        while (position_ < offset) {
            skipped_.resize(k_skip_bytes);
            auto part = std::span(skipped_).first(
                static_cast<size_t>(std::min<uint64_t>(offset - position_, k_skip_bytes)));
            tail_.clear();
            if (decode(part) < part.size()) return false;
            if (position_ == offset) keep_tail(part);
        }
        return true;
    }

    // Reads all that is wanted, in one pass, in place of what was fetched before.
    void fetch_expected() {
        fetched_.clear();
        for (auto [offset, size] : std::exchange(wanted_, {})) {
            if (end_ && offset >= *end_) break;
            std::vector<std::byte> bytes(static_cast<size_t>(size));
            if (copy_fetched(offset, bytes)) continue;
            size_t done = copy_tail(offset, bytes);
            if (done == 0 && !move_to(offset)) break;
            done += decode_and_keep(std::span(bytes).subspan(done));
            bytes.resize(done);
            fetched_.emplace(offset, std::move(bytes));
        }
    }

    // Only as a whole.
    bool copy_fetched(uint64_t offset, std::span<std::byte> out) const {
        auto part = fetched_.upper_bound(offset);
        if (part == fetched_.begin()) return false;
        --part;
        uint64_t skip = offset - part->first;
        if (skip > part->second.size() || out.size() > part->second.size() - skip) return false;
        std::copy_n(part->second.begin() + static_cast<ptrdiff_t>(skip), out.size(), out.begin());
        return true;
    }

    // The beginning of `out`, when it is what was decoded last.
    size_t copy_tail(uint64_t offset, std::span<std::byte> out) const {
        uint64_t back = position_ - std::min(offset, position_);
        if (back == 0 || back > tail_.size()) return 0;
        size_t size = std::min(out.size(), static_cast<size_t>(back));
        std::copy_n(tail_.end() - static_cast<ptrdiff_t>(back), size, out.begin());
        return size;
    }

    void keep_tail(std::span<const std::byte> bytes) {
        if (bytes.size() >= k_tail_bytes) {
            tail_.assign(bytes.end() - k_tail_bytes, bytes.end());
            return;
        }
        // Twice the size, so that a byte is moved once and not with each short read.
        if (tail_.size() + bytes.size() > 2 * k_tail_bytes)
            tail_.erase(tail_.begin(), tail_.end() - k_tail_bytes);
        tail_.insert(tail_.end(), bytes.begin(), bytes.end());
    }

    void note_start() {
        uint64_t stored = stored_offset_ - left_.size();
        if (position_ < starts_.back().position + k_start_distance || starts_.size() >= k_starts_limit)
            return;
        starts_.push_back({position_, stored});
    }

    size_t decode_and_keep(std::span<std::byte> out) {
        size_t done = decode(out);
        keep_tail(out.first(done));
        return done;
    }

    // The stored bytes from stored_offset_ on into input_; returns how many, 0 at their end.
    size_t load_input() {
        if (!read_ahead_) return stored_->read_at(stored_offset_, std::span(input_).first(k_input_bytes));
        input_.resize(k_long_way_input_bytes + k_input_slop);
        next_input_.resize(input_.size());
        size_t got = 0;
        if (next_.valid()) {
            got = next_.get();
            input_.swap(next_input_);
        } else {
            got = stored_->read_at(stored_offset_, std::span(input_).first(k_long_way_input_bytes));
        }
        if (got == k_long_way_input_bytes) {
            next_ = std::async(std::launch::async, [this, from = stored_offset_ + got] {
                return stored_->read_at(from, std::span(next_input_).first(k_long_way_input_bytes));
            });
        }
        return got;
    }

    // Fills `out`; less only at the end, which is then known.
    size_t decode(std::span<std::byte> out) {
        size_t done = 0;
        while (done < out.size() && !(end_ && position_ >= *end_)) {
            if (left_.empty()) {
                size_t got = load_input();
                stored_offset_ += got;
                left_ = std::span<const std::byte>(input_).first(got);
                if (got == 0 && decoder_->at_boundary) {
                    end_ = position_;
                    break;
                }
                ended_ = got == 0;
            }
            auto rest = out.subspan(done);
            if (decoder_->at_boundary && position_ > 0) note_start();
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
    int window_log_;
    std::unique_ptr<Decoder> decoder_;
    std::vector<std::byte> input_;
    bool read_ahead_ = false;
    std::vector<std::byte> next_input_;
    std::future<size_t> next_;  // how much of next_input_ is read; its destructor waits
    std::vector<std::byte> skipped_;
    std::vector<std::byte> tail_;
    std::vector<Start> starts_{Start{}};
    std::map<uint64_t, uint64_t> wanted_;  // sizes by offset
    uint64_t wanted_bytes_ = 0;
    std::map<uint64_t, std::vector<std::byte>> fetched_;
    std::span<const std::byte> left_;
    uint64_t stored_offset_ = 0;
    uint64_t position_ = 0;
    uint64_t furthest_ = 0;
    bool ended_ = false;
    std::optional<uint64_t> end_;
    std::string damage_;
};

DecodedFile::DecodedFile(std::shared_ptr<const ImageFile> stored, Compression compression, int window_log)
    : state_(std::make_unique<State>(std::move(stored), compression, window_log)) {}
DecodedFile::~DecodedFile() = default;
uint64_t DecodedFile::size() const {
    return state_->known_size();
}
size_t DecodedFile::read_at(uint64_t offset, std::span<std::byte> out) const {
    return state_->read(offset, out);
}
void DecodedFile::expect(uint64_t offset, uint64_t size) const {
    state_->expect(offset, size);
}
std::string DecodedFile::damage() const {
    return state_->damage();
}

size_t SliceFile::read_at(uint64_t offset, std::span<std::byte> out) const {
    if (offset >= size_) return 0;
    return whole_->read_at(begin_ + offset,
                           out.first(static_cast<size_t>(std::min<uint64_t>(out.size(), size_ - offset))));
}

void SliceFile::expect(uint64_t offset, uint64_t size) const {
    if (offset < size_) whole_->expect(begin_ + offset, std::min(size, size_ - offset));
}

size_t BytesFile::read_at(uint64_t offset, std::span<std::byte> out) const {
    if (offset >= content_->size()) return 0;
    size_t size = std::min<size_t>(out.size(), content_->size() - static_cast<size_t>(offset));
    std::memcpy(out.data(), content_->data() + offset, size);
    return size;
}

}  // namespace cprewind::images

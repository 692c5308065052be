#include "inspect/text_runs.h"

#include <algorithm>
#include <bit>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

namespace cprewind::inspect {

namespace {

constexpr size_t k_block = 64;

constexpr bool is_plain(unsigned value) {
    return (value >= 0x20 && value < 0x7f) || value == '\t';
}

// Characters that show: no controls, nothing that only steers how others are shown, nothing that is no character.
constexpr bool shows(uint32_t value) {
    if (value < 0x80) return is_plain(value);
    if (value < 0xa1 || value == 0xad) return false;
    if (value >= 0x200b && value <= 0x200f) return false;
    if (value >= 0x2028 && value <= 0x202e) return false;
    if (value >= 0x2060 && value <= 0x206f) return false;
    if (value >= 0xd800 && value <= 0xf8ff) return false;
    if (value >= 0xfdd0 && value <= 0xfdef) return false;
    if (value == 0xfeff || (value >= 0xfff0 && value <= 0xffff)) return false;
    return value < 0xe0000 && (value & 0xfffe) != 0xfffe;
}

// Each way of writing characters: how many bytes a unit has; which units of a block of 64 bytes may be (part of) a
// character, one bit each; and the character at a place.

struct Bytes {
    static constexpr size_t k_unit = 1;
    const unsigned char* data;
    size_t size;
    bool high;  // UTF-8: bytes from 0x80 on may be part of a character

    bool may(size_t at) const { return is_plain(data[at]) || (high && data[at] >= 0x80); }

    uint64_t block(size_t at) const {
        uint64_t mask = 0;
#ifdef __SSE2__
        const __m128i least = _mm_set1_epi8(0x1f), most = _mm_set1_epi8(0x7f), tab = _mm_set1_epi8('\t');
        for (size_t i = 0; i < 4; ++i) {
            __m128i x = _mm_loadu_si128(reinterpret_cast<const __m128i*>(data + at + i * 16));
            // Compared with sign, what is 0x80 and above is less than all.
            __m128i plain = _mm_or_si128(_mm_and_si128(_mm_cmpgt_epi8(x, least), _mm_cmplt_epi8(x, most)),
                                         _mm_cmpeq_epi8(x, tab));
            auto bits = static_cast<unsigned>(_mm_movemask_epi8(plain));
            if (high) bits |= static_cast<unsigned>(_mm_movemask_epi8(x));
            mask |= static_cast<uint64_t>(bits & 0xffff) << i * 16;
        }
#else
        for (size_t i = 0; i < k_block; ++i) mask |= static_cast<uint64_t>(may(at + i)) << i;
#endif
        return mask;
    }

    // Bytes of the character there, 0: none.
    size_t character(size_t at, uint32_t& value) const {
        unsigned first = data[at];
        value = first;
        if (first < 0x80) return is_plain(first) ? 1 : 0;
        size_t length = first >= 0xc2 && first < 0xe0   ? 2
                        : first >= 0xe0 && first < 0xf0 ? 3
                        : first >= 0xf0 && first < 0xf5 ? 4
                                                        : 0;
        if (length == 0 || !high || length > size - at) return 0;
        value = first & (0x7fu >> length);
        for (size_t i = 1; i < length; ++i) {
            if ((data[at + i] & 0xc0u) != 0x80) return 0;
            value = value << 6 | (data[at + i] & 0x3fu);
        }
        constexpr uint32_t k_least[] = {0, 0, 0x80, 0x800, 0x10000};
        return value >= k_least[length] && shows(value) ? length : 0;
    }

    // Where the first character begins that begins at or behind `begin`.
    size_t first(size_t begin) const {
        for (size_t back = 1; high && back <= std::min<size_t>(3, begin); ++back) {
            uint32_t value = 0;
            size_t length = data[begin - back] < 0x80 ? 0 : character(begin - back, value);
            if (length > back) return begin - back + length;
        }
        return begin;
    }
};

template <bool big_endian>
struct Units {
    static constexpr size_t k_unit = 2;
    const unsigned char* data;
    size_t size;
    bool odd;

    uint32_t unit(size_t at) const {
        return big_endian ? data[at] << 8 | data[at + 1] : data[at + 1] << 8 | data[at];
    }
    static bool may_be(uint32_t value) { return (value >= 0x20 && value < 0x700) || value == '\t'; }
    bool may(size_t at) const { return at + 1 < size && may_be(unit(at)); }

    uint64_t block(size_t at) const {
        uint64_t mask = 0;
#ifdef __SSE2__
        const __m128i least = _mm_set1_epi16(0x1f), most = _mm_set1_epi16(0x700), tab = _mm_set1_epi16('\t');
        for (size_t i = 0; i < 4; i += 2) {
            __m128i halves[2];
            for (size_t j = 0; j < 2; ++j) {
                __m128i x = _mm_loadu_si128(reinterpret_cast<const __m128i*>(data + at + (i + j) * 16));
                if (big_endian) x = _mm_or_si128(_mm_slli_epi16(x, 8), _mm_srli_epi16(x, 8));
                halves[j] = _mm_or_si128(_mm_and_si128(_mm_cmpgt_epi16(x, least), _mm_cmplt_epi16(x, most)),
                                         _mm_cmpeq_epi16(x, tab));
            }
            auto bits = static_cast<unsigned>(_mm_movemask_epi8(_mm_packs_epi16(halves[0], halves[1])));
            mask |= static_cast<uint64_t>(bits & 0xffff) << i * 8;
        }
#else
        for (size_t i = 0; i < k_block / 2; ++i) mask |= static_cast<uint64_t>(may_be(unit(at + i * 2))) << i;
#endif
        return mask;
    }

    size_t character(size_t at, uint32_t& value) const {
        if (at + 1 >= size) return 0;
        value = unit(at);
        return may_be(value) && shows(value) ? 2 : 0;
    }
    size_t first(size_t begin) const {
        return begin + ((begin & 1u) != static_cast<size_t>(odd) ? 1 : 0);
    }
};

void append_character(std::string& out, uint32_t value) {
    if (value < 0x80) {
        out += static_cast<char>(value);
    } else {
        out += static_cast<char>(0xc0 | value >> 6);
        out += static_cast<char>(0x80 | (value & 0x3f));
    }
}

template <typename Form>
class Finder {
 public:
    Finder(const Form& form, size_t begin, size_t end, size_t least, TextRuns& out)
        : form_(form), begin_(form.first(begin)), end_(end), least_(least), out_(out) {}

    void run() {
        size_t at = begin_;
        constexpr size_t k_units = k_block / Form::k_unit;
        constexpr uint64_t k_all = k_units == 64 ? ~uint64_t{0} : (uint64_t{1} << k_units) - 1;
        bool inside = false;
        size_t start = 0;
        for (; at + k_block <= end_ && at + k_block <= form_.size; at += k_block) {
            uint64_t mask = form_.block(at);
            if (mask == (inside ? k_all : 0)) continue;
            for (size_t i = 0; i < k_units;) {
                uint64_t rest = (inside ? ~mask & k_all : mask) >> i;
                if (rest == 0) break;
                i += static_cast<size_t>(std::countr_zero(rest));
                size_t place = at + i * Form::k_unit;
                if (inside) add(start, place);
                start = place;
                inside = !inside;
            }
        }
        for (; at < end_; at += Form::k_unit) {
            if (form_.may(at) == inside) continue;
            if (inside) add(start, at);
            start = at;
            inside = !inside;
        }
        if (inside) add(start, at);
    }

 private:
    // What may be a run is split where it is none.
    void add(size_t from, size_t to) {
        bool border = from == begin_ || to >= end_;
        if (to - from < least_ * Form::k_unit && !border) return;
        TextRun run = start_at(from);
        for (size_t at = from; at < to;) {
            uint32_t value = 0;
            size_t length = form_.character(at, value);
            if (length == 0) {
                run.end = at;
                keep(run);
                at += Form::k_unit;
                run = start_at(at);
                continue;
            }
            if constexpr (Form::k_unit == 2) append_character(out_.text, value);
            ++run.characters;
            run.ascii = run.ascii && value < 0x80;
            at += length;
            run.end = at;
        }
        keep(run);
    }

    TextRun start_at(size_t at) const {
        TextRun run;
        run.begin = run.end = at;
        run.text = out_.text.size();
        return run;
    }

    void keep(TextRun& run) {
        run.at_begin = run.begin == begin_;
        run.at_end = run.end >= end_;
        if (run.characters == 0 || (run.characters < least_ && !run.at_begin && !run.at_end)) {
            out_.text.resize(run.text);
            return;
        }
        if constexpr (Form::k_unit == 1)
            out_.text.append(reinterpret_cast<const char*>(form_.data + run.begin), run.end - run.begin);
        run.text_bytes = out_.text.size() - run.text;
        out_.runs.push_back(run);
    }

    Form form_;
    size_t begin_;
    size_t end_;
    size_t least_;
    TextRuns& out_;
};

}  // namespace

const char* name_of(TextEncoding encoding) {
    switch (encoding) {
        case TextEncoding::ascii:
            return "ascii";
        case TextEncoding::utf8:
            return "utf-8";
        case TextEncoding::utf16le:
            return "utf-16le";
        case TextEncoding::utf16be:
            return "utf-16be";
    }
    return "unknown";
}

void find_text_runs(std::span<const std::byte> bytes, size_t begin, size_t end, TextEncoding encoding,
                    bool odd, size_t least, TextRuns& out) {
    const auto* data = reinterpret_cast<const unsigned char*>(bytes.data());
    if (encoding == TextEncoding::utf16le) {
        Finder(Units<false>{data, bytes.size(), odd}, begin, end, least, out).run();
    } else if (encoding == TextEncoding::utf16be) {
        Finder(Units<true>{data, bytes.size(), odd}, begin, end, least, out).run();
    } else {
        Finder(Bytes{data, bytes.size(), encoding == TextEncoding::utf8}, begin, end, least, out).run();
    }
}

}  // namespace cprewind::inspect

#include "inspect/memory_patterns.h"

#include <fmt/format.h>
#include <hs.h>

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <utility>

#include "base/error.h"
#include "base/text.h"

namespace cprewind::inspect {

using base::Error;
using base::ErrorKind;

namespace {

constexpr const char* k_pattern_hint = "`cprewind mem --help` shows how patterns are written";

[[noreturn]] void refuse(const Pattern& pattern, const std::string& why) {
    throw Error(ErrorKind::usage,
                fmt::format("the {} pattern '{}' cannot be used: {}", name_of(pattern.kind),
                            base::escape(pattern.source), why),
                k_pattern_hint);
}

std::string literal(std::string_view bytes) {
    std::string out;
    for (char byte : bytes) out += fmt::format("\\x{:02x}", static_cast<unsigned char>(byte));
    return out;
}

// UTF-16 of UTF-8.
std::string widen(const Pattern& pattern, bool big_endian) {
    const std::string& text = pattern.source;
    if (!base::is_utf8(text)) refuse(pattern, "it is not UTF-8, so it has no form in UTF-16");
    std::string out;
    auto unit = [&](uint32_t value) {
        auto low = static_cast<char>(value & 0xff), high = static_cast<char>(value >> 8 & 0xff);
        out += big_endian ? high : low;
        out += big_endian ? low : high;
    };
    for (size_t i = 0; i < text.size();) {
        auto first = static_cast<unsigned char>(text[i++]);
        int more = first < 0x80 ? 0 : first < 0xe0 ? 1 : first < 0xf0 ? 2 : 3;
        uint32_t value = more == 0 ? first : first & (0x3fu >> more);
        for (; more > 0; --more) value = value << 6 | (static_cast<unsigned char>(text[i++]) & 0x3fu);
        if (value < 0x10000) {
            unit(value);
        } else {
            unit(0xd800 + ((value - 0x10000) >> 10));
            unit(0xdc00 + ((value - 0x10000) & 0x3ff));
        }
    }
    return out;
}

std::string hex_expression(const Pattern& pattern) {
    auto digit = [](char c) -> std::optional<unsigned> {
        if (c >= '0' && c <= '9') return c - '0';
        if (c >= 'a' && c <= 'f') return c - 'a' + 10;
        if (c >= 'A' && c <= 'F') return c - 'A' + 10;
        return std::nullopt;
    };
    std::string out;
    bool certain = false;
    const std::string& source = pattern.source;
    for (size_t i = 0; i < source.size();) {
        if (source[i] == ' ' || source[i] == '\t') {
            ++i;
            continue;
        }
        for (size_t at : {i, i + 1}) {
            if (at >= source.size())
                refuse(pattern, fmt::format("the byte at position {} has one digit", i + 1));
            if (!digit(source[at]) && source[at] != '?')
                refuse(pattern, fmt::format("'{}' at position {} is neither a hexadecimal digit nor '?'",
                                            base::escape(source.substr(at, 1)), at + 1));
        }
        auto high = digit(source[i]), low = digit(source[i + 1]);
        if (high && low) {
            out += fmt::format("\\x{:x}{:x}", *high, *low);
        } else if (high) {
            out += fmt::format("[\\x{0:x}0-\\x{0:x}f]", *high);
        } else if (low) {
            out += '[';
            for (unsigned i2 = 0; i2 < 16; ++i2) out += fmt::format("\\x{:x}{:x}", i2, *low);
            out += ']';
        } else {
            out += '.';
        }
        certain = certain || high || low;
        i += 2;
    }
    if (!certain) refuse(pattern, "it is empty, or any bytes would do");
    return out;
}

// What a scan hands to Hyperscan and gets back.
struct Call {
    const std::function<void(uint32_t, size_t, size_t)>& found;
    const void* expressions;
};

}  // namespace

const char* name_of(PatternKind kind) {
    switch (kind) {
        case PatternKind::text:
            return "text";
        case PatternKind::hex:
            return "hex";
        case PatternKind::regex:
            return "regex";
    }
    return "unknown";
}

Pattern parse_pattern_line(std::string_view line) {
    for (PatternKind kind : {PatternKind::text, PatternKind::hex, PatternKind::regex}) {
        std::string prefix = fmt::format("{}:", name_of(kind));
        if (line.starts_with(prefix)) return {kind, std::string(line.substr(prefix.size()))};
    }
    return {PatternKind::text, std::string(line)};
}

PatternSet::PatternSet(std::vector<Pattern> patterns) : patterns_(std::move(patterns)) {
    if (hs_valid_platform() != HS_SUCCESS)
        throw Error(ErrorKind::unsupported, "this processor lacks what searching needs (SSSE3)");
    std::vector<std::string> sources;
    std::vector<unsigned> flags, ids;
    auto add = [&](uint32_t number, std::string source, unsigned more) {
        const Pattern& pattern = patterns_[number];
        unsigned flag = more | (pattern.ignore_case ? HS_FLAG_CASELESS : 0u);
        hs_expr_info_t* info = nullptr;
        hs_compile_error_t* problem = nullptr;
        if (hs_expression_info(source.c_str(), flag, &info, &problem) != HS_SUCCESS) {
            std::string why = problem->message;
            hs_free_compile_error(problem);
            refuse(pattern, why);
        }
        size_t least = info->min_width, most = info->max_width;
        std::free(info);
        if (least == 0) refuse(pattern, "it matches nothing at all, which is everywhere");
        if (least > k_most) refuse(pattern, fmt::format("its matches are longer than {} bytes", k_most));
        bool fixed = least == most;
        if (!fixed) flag |= HS_FLAG_SOM_LEFTMOST;
        longest_ =
            std::max(longest_, most == UINT32_MAX ? std::max(least, k_longest) : std::min(most, k_most));
        expressions_.push_back({number, fixed ? least : 0});
        ids.push_back(static_cast<unsigned>(sources.size()));
        sources.push_back(std::move(source));
        flags.push_back(flag);
    };
    for (uint32_t i = 0; i < patterns_.size(); ++i) {
        const Pattern& pattern = patterns_[i];
        if (pattern.source.empty()) refuse(pattern, "it is empty");
        if (pattern.source.size() > k_most)
            refuse(pattern, fmt::format("it is longer than {} bytes", k_most));
        if (pattern.kind == PatternKind::regex) {
            size_t nul = pattern.source.find('\0');
            if (nul != std::string::npos)
                refuse(pattern, fmt::format("a zero byte at position {}; write \\x00", nul + 1));
            add(i, pattern.source, HS_FLAG_MULTILINE);
        } else if (pattern.kind == PatternKind::hex) {
            add(i, hex_expression(pattern), HS_FLAG_DOTALL);
        } else {
            add(i, literal(pattern.source), 0);
            if (pattern.wide) add(i, literal(widen(pattern, false)), 0);
            if (pattern.wide) add(i, literal(widen(pattern, true)), 0);
        }
    }
    std::vector<const char*> texts;
    for (const std::string& source : sources) texts.push_back(source.c_str());
    hs_compile_error_t* problem = nullptr;
    hs_database_t* database = nullptr;
    if (hs_compile_multi(texts.data(), flags.data(), ids.data(), static_cast<unsigned>(texts.size()),
                         HS_MODE_BLOCK, nullptr, &database, &problem) != HS_SUCCESS) {
        std::string why = problem->message;
        int which = problem->expression;
        hs_free_compile_error(problem);
        if (which < 0)
            throw Error(ErrorKind::usage, "the patterns cannot be used together: " + why, k_pattern_hint);
        refuse(patterns_[expressions_[static_cast<size_t>(which)].pattern], why);
    }
    database_ = database;
}

PatternSet::~PatternSet() {
    hs_free_database(static_cast<hs_database_t*>(database_));
}

PatternSet::Scanner::Scanner(const PatternSet& set) : set_(set) {
    hs_scratch_t* scratch = nullptr;
    if (hs_alloc_scratch(static_cast<hs_database_t*>(set.database_), &scratch) != HS_SUCCESS)
        throw std::bad_alloc();
    scratch_ = scratch;
}

PatternSet::Scanner::Scanner(Scanner&& other) noexcept
    : set_(other.set_), scratch_(std::exchange(other.scratch_, nullptr)) {}

PatternSet::Scanner::~Scanner() {
    hs_free_scratch(static_cast<hs_scratch_t*>(scratch_));
}

void PatternSet::Scanner::scan(std::span<const std::byte> bytes,
                               const std::function<void(uint32_t, size_t, size_t)>& found) {
    Call call{found, set_.expressions_.data()};
    auto each = [](unsigned id, unsigned long long from, unsigned long long to, unsigned, void* context) {
        const Call& mine = *static_cast<const Call*>(context);
        const Expression& expression = static_cast<const Expression*>(mine.expressions)[id];
        size_t begin = expression.width > 0 ? to - expression.width : from;
        mine.found(expression.pattern, begin, to);
        return 0;
    };
    hs_error_t error =
        hs_scan(static_cast<hs_database_t*>(set_.database_), reinterpret_cast<const char*>(bytes.data()),
                static_cast<unsigned>(bytes.size()), 0, static_cast<hs_scratch_t*>(scratch_), each, &call);
    CPREWIND_CHECK(error == HS_SUCCESS);
}

}  // namespace cprewind::inspect

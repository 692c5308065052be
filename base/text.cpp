#include "base/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cmath>
#include <cstring>
#include <ctime>
#include <map>

namespace cprewind::base {
namespace {

// Decodes one UTF-8 character at the start of `bytes`; returns its length, or 0 when it is not valid UTF-8
// (overlong forms, surrogates and values past U+10FFFF are not).
size_t decode_utf8(std::string_view bytes, char32_t& out) {
    auto byte = [&](size_t i) { return static_cast<unsigned char>(bytes[i]); };
    unsigned char first = byte(0);
    size_t size = first < 0x80   ? 1
                  : first < 0xc2 ? 0
                  : first < 0xe0 ? 2
                  : first < 0xf0 ? 3
                  : first < 0xf5 ? 4
                                 : 0;
    if (size == 0 || bytes.size() < size) return 0;
    char32_t value = size == 1 ? first : first & (0xffu >> (size + 1));
    for (size_t i = 1; i < size; ++i) {
        if ((byte(i) & 0xc0) != 0x80) return 0;
        value = (value << 6) | (byte(i) & 0x3fu);
    }
    if ((size == 3 && value < 0x800) || (size == 4 && value < 0x10000)) return 0;
    if ((value >= 0xd800 && value <= 0xdfff) || value > 0x10ffff) return 0;
    out = value;
    return size;
}

// C1 controls, zero-width and direction marks, line separators: they change how other text is shown.
bool steers_a_terminal(char32_t c) {
    return (c >= 0x80 && c < 0xa0) || (c >= 0x200b && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) ||
           (c >= 0x2060 && c <= 0x206f) || c == 0xfeff || (c >= 0xfff9 && c <= 0xfffb) ||
           (c >= 0xe0000 && c <= 0xe007f);
}

// Optimal string alignment distance: insertions, deletions, replacements, and swapped neighbours cost 1.
size_t distance(std::string_view a, std::string_view b) {
    std::vector<std::vector<size_t>> cost(a.size() + 1, std::vector<size_t>(b.size() + 1));
    for (size_t i = 0; i <= a.size(); ++i) cost[i][0] = i;
    for (size_t j = 0; j <= b.size(); ++j) cost[0][j] = j;
    for (size_t i = 1; i <= a.size(); ++i) {
        for (size_t j = 1; j <= b.size(); ++j) {
            size_t replace = cost[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
            cost[i][j] = std::min({cost[i - 1][j] + 1, cost[i][j - 1] + 1, replace});
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
                cost[i][j] = std::min(cost[i][j], cost[i - 2][j - 2] + 1);
            }
        }
    }
    return cost[a.size()][b.size()];
}

std::optional<WallTime> parse_relative(std::string_view text, WallTime now) {
    using namespace std::chrono;
    if (text == "now") return now;
    if (text == "yesterday") return now - hours(24);
    if (!text.ends_with(" ago")) return std::nullopt;
    text = trim(text.substr(0, text.size() - 4));
    size_t digits = 0;
    while (digits < text.size() && std::isdigit(static_cast<unsigned char>(text[digits])) != 0) ++digits;
    auto count = parse_number(text.substr(0, digits));
    // A hundred years is plenty, and keeps the multiplication below far from overflow.
    if (!count || *count > 36500) return std::nullopt;
    static const std::map<std::string_view, nanoseconds> k_units = {
        {"s", seconds(1)},     {"sec", seconds(1)}, {"second", seconds(1)}, {"seconds", seconds(1)},
        {"m", minutes(1)},     {"min", minutes(1)}, {"minute", minutes(1)}, {"minutes", minutes(1)},
        {"h", hours(1)},       {"hour", hours(1)},  {"hours", hours(1)},    {"d", hours(24)},
        {"day", hours(24)},    {"days", hours(24)}, {"w", hours(168)},      {"week", hours(168)},
        {"weeks", hours(168)},
    };
    auto unit = k_units.find(trim(text.substr(digits)));
    if (unit == k_units.end()) return std::nullopt;
    return now - unit->second * static_cast<int64_t>(*count);
}

}  // namespace

std::string escape(std::string_view bytes) {
    std::string out;
    out.reserve(bytes.size());
    while (!bytes.empty()) {
        char32_t c = 0;
        size_t size = decode_utf8(bytes, c);
        if (size == 0) {
            out += fmt::format("\\x{:02x}", static_cast<unsigned char>(bytes[0]));
            size = 1;
        } else if (c == '\\') {
            out += "\\\\";
        } else if (c == '\n') {
            out += "\\n";
        } else if (c == '\t') {
            out += "\\t";
        } else if (c == '\r') {
            out += "\\r";
        } else if (c < 0x20 || c == 0x7f) {
            out += fmt::format("\\x{:02x}", static_cast<unsigned>(c));
        } else if (steers_a_terminal(c)) {
            out += c > 0xffff ? fmt::format("\\U{:08x}", static_cast<unsigned>(c))
                              : fmt::format("\\u{:04x}", static_cast<unsigned>(c));
        } else {
            out += bytes.substr(0, size);
        }
        bytes.remove_prefix(size);
    }
    return out;
}

bool is_utf8(std::string_view bytes) {
    while (!bytes.empty()) {
        char32_t c = 0;
        size_t size = decode_utf8(bytes, c);
        if (size == 0) return false;
        bytes.remove_prefix(size);
    }
    return true;
}

std::string to_hex(std::span<const std::byte> bytes) {
    static constexpr char k_digits[] = "0123456789abcdef";
    std::string out;
    out.reserve(bytes.size() * 2);
    for (std::byte b : bytes) {
        out += k_digits[std::to_integer<unsigned>(b) >> 4];
        out += k_digits[std::to_integer<unsigned>(b) & 15];
    }
    return out;
}

std::optional<std::vector<std::byte>> parse_hex(std::string_view text) {
    if (text.size() % 2 != 0) return std::nullopt;
    std::vector<std::byte> out;
    for (size_t i = 0; i < text.size(); i += 2) {
        unsigned value = 0;
        auto [end, error] = std::from_chars(text.data() + i, text.data() + i + 2, value, 16);
        if (error != std::errc() || end != text.data() + i + 2) return std::nullopt;
        out.push_back(static_cast<std::byte>(value));
    }
    return out;
}

std::string to_base64(std::string_view bytes) {
    static constexpr char k_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string out;
    for (size_t i = 0; i < bytes.size(); i += 3) {
        uint32_t group = 0;
        size_t n = std::min<size_t>(3, bytes.size() - i);
        for (size_t k = 0; k < 3; ++k) {
            group = (group << 8) | (k < n ? static_cast<unsigned char>(bytes[i + k]) : 0u);
        }
        for (size_t k = 0; k < 4; ++k) out += k <= n ? k_digits[(group >> (18 - 6 * k)) & 63] : '=';
    }
    return out;
}

std::string human_bytes(uint64_t bytes) {
    if (bytes < 1024) return fmt::format("{} B", bytes);
    static constexpr std::array<const char*, 6> k_units = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = static_cast<double>(bytes) / 1024;
    size_t unit = 0;
    // 1023.5 would be printed as "1024": take the next unit from there on.
    while (value >= 1023.5 && unit + 1 < k_units.size()) {
        value /= 1024;
        ++unit;
    }
    return value < 9.95 ? fmt::format("{:.1f} {}", value, k_units[unit])
                        : fmt::format("{:.0f} {}", value, k_units[unit]);
}

std::string human_duration(std::chrono::nanoseconds duration) {
    double seconds = std::chrono::duration<double>(duration).count();
    if (seconds < 0) return "-" + human_duration(-duration);
    if (seconds < 0.001) return fmt::format("{:.0f} µs", seconds * 1e6);
    if (seconds < 0.9995) return fmt::format("{:.0f} ms", seconds * 1e3);
    if (seconds < 59.5) return fmt::format("{:.1f} s", seconds);
    auto whole = static_cast<uint64_t>(seconds + 0.5);
    if (whole < 3600) return fmt::format("{} min {} s", whole / 60, whole % 60);
    if (whole < 86400) return fmt::format("{} h {} min", whole / 3600, whole % 3600 / 60);
    return fmt::format("{} d {} h", whole / 86400, whole % 86400 / 3600);
}

std::string counted(uint64_t count, std::string_view one, std::string_view many) {
    if (count == 1) return fmt::format("1 {}", one);
    return many.empty() ? fmt::format("{} {}s", count, one) : fmt::format("{} {}", count, many);
}

std::string local_time(WallTime time) {
    std::time_t seconds = std::chrono::floor<std::chrono::seconds>(time).time_since_epoch().count();
    std::tm parts{};
    ::localtime_r(&seconds, &parts);
    return fmt::format("{:04}-{:02}-{:02} {:02}:{:02}:{:02}", parts.tm_year + 1900, parts.tm_mon + 1,
                       parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec);
}

std::string rfc3339(WallTime time) {
    auto whole = std::chrono::floor<std::chrono::seconds>(time);
    std::time_t seconds = whole.time_since_epoch().count();
    std::tm parts{};
    ::gmtime_r(&seconds, &parts);
    return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:09}Z", parts.tm_year + 1900, parts.tm_mon + 1,
                       parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec, (time - whole).count());
}

std::optional<WallTime> parse_time(std::string_view text, WallTime now) {
    text = trim(text);
    if (auto relative = parse_relative(text, now)) return relative;
    std::string word(text);
    bool utc = !word.empty() && word.back() == 'Z';
    if (utc) word.pop_back();
    for (const char* format : {"%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M",
                               "%Y-%m-%d", "%H:%M:%S", "%H:%M"}) {
        std::tm parts{};
        if (format[1] == 'H') {
            std::time_t today = std::chrono::floor<std::chrono::seconds>(now).time_since_epoch().count();
            if (utc) {
                ::gmtime_r(&today, &parts);
            } else {
                ::localtime_r(&today, &parts);
            }
            parts.tm_hour = parts.tm_min = parts.tm_sec = 0;
        }
        const char* end = ::strptime(word.c_str(), format, &parts);
        if (end == nullptr) continue;
        // Fractions are read by rfc3339's own output.
        std::chrono::nanoseconds fraction{0};
        if (*end == '.') {
            std::string digits(end + 1);
            if (digits.empty() || digits.size() > 9) continue;
            auto value = parse_number(digits);
            if (!value) continue;
            fraction = std::chrono::nanoseconds(
                static_cast<int64_t>(static_cast<double>(*value) * std::pow(10, 9 - digits.size())));
        } else if (*end != '\0') {
            continue;
        }
        parts.tm_isdst = -1;
        std::time_t seconds = utc ? ::timegm(&parts) : ::mktime(&parts);
        return WallTime(std::chrono::seconds(seconds)) + fraction;
    }
    return std::nullopt;
}

std::vector<std::string> near_names(std::string_view word, const std::vector<std::string>& candidates) {
    // Longer inputs are no typing mistakes, and the distance is quadratic.
    if (word.size() > 128) return {};
    std::vector<std::pair<size_t, std::string>> scored;
    for (const std::string& candidate : candidates) {
        if (candidate.size() > 128) continue;
        size_t d = distance(word, candidate);
        bool extends = word.size() >= 2 && candidate.starts_with(word);
        if (extends || d <= std::max<size_t>(1, word.size() / 3))
            scored.emplace_back(extends ? 0 : d, candidate);
    }
    std::stable_sort(scored.begin(), scored.end(), [](auto& a, auto& b) { return a.first < b.first; });
    std::vector<std::string> names;
    for (auto& [d, name] : scored) {
        if (names.size() < 3 && std::find(names.begin(), names.end(), name) == names.end())
            names.push_back(name);
    }
    return names;
}

std::string did_you_mean(std::string_view word, const std::vector<std::string>& candidates) {
    auto names = near_names(word, candidates);
    if (names.empty()) return {};
    std::string out = "did you mean ";
    for (size_t i = 0; i < names.size(); ++i) {
        if (i > 0) out += i + 1 == names.size() ? " or " : ", ";
        out += fmt::format("'{}'", escape(names[i]));
    }
    return out + "?";
}

std::vector<std::string> split(std::string_view text, char separator) {
    std::vector<std::string> parts;
    for (;;) {
        size_t end = text.find(separator);
        parts.emplace_back(text.substr(0, end));
        if (end == std::string_view::npos) return parts;
        text.remove_prefix(end + 1);
    }
}

std::string join(const std::vector<std::string>& parts, std::string_view separator) {
    return fmt::format("{}", fmt::join(parts, separator));
}

std::string_view trim(std::string_view text) {
    static constexpr std::string_view k_blanks = " \t\r\n";
    size_t begin = text.find_first_not_of(k_blanks);
    if (begin == std::string_view::npos) return {};
    return text.substr(begin, text.find_last_not_of(k_blanks) - begin + 1);
}

std::optional<uint64_t> parse_address(std::string_view text) {
    if (text.starts_with("0x")) text.remove_prefix(2);
    uint64_t value = 0;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
    if (error != std::errc() || end != text.data() + text.size() || text.empty()) return {};
    return value;
}

std::optional<uint64_t> parse_number(std::string_view text) {
    uint64_t value = 0;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
    return value;
}

}  // namespace cprewind::base

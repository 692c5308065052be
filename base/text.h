// Words and numbers as people and terminals need them. Evidence is hostile: its bytes pass escape() before
// they reach a terminal, and to JSON they go as text plus, where they are not UTF-8, base64
// (cli/json_text.h).
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace cprewind::base {

// Control characters, invalid UTF-8, and characters that steer a terminal or reorder text become \n, \x1b,
// \u202e. A backslash becomes two, so that the result is unambiguous.
std::string escape(std::string_view bytes);

bool is_utf8(std::string_view bytes);

std::string to_hex(std::span<const std::byte> bytes);
std::optional<std::vector<std::byte>> parse_hex(std::string_view text);
std::string to_base64(std::string_view bytes);

// "0 B", "512 B", "4.0 KiB", "512 MiB", "1.2 GiB".
std::string human_bytes(uint64_t bytes);
// "850 µs", "12 ms", "1.8 s", "3 min 20 s", "5 h 3 min", "2 d 4 h".
std::string human_duration(std::chrono::nanoseconds duration);
// "1 process", "2 processes": `many` defaults to one + "s".
std::string counted(uint64_t count, std::string_view one, std::string_view many = {});

using WallTime = std::chrono::sys_time<std::chrono::nanoseconds>;

// Local time, "2026-11-24 19:42:07".
std::string local_time(WallTime time);
// RFC 3339 in UTC, nanoseconds kept: "2026-11-24T18:42:07.123456789Z".
std::string rfc3339(WallTime time);
// Reads "2026-11-24", "2026-11-24 19:42", "2026-11-24 19:42:07" (local; a "T" instead of the blank and a "Z"
// for UTC are understood), "19:42" (today), "10m ago", "2 hours ago", "yesterday". `now` is what "ago" counts
// from.
std::optional<WallTime> parse_time(std::string_view text, WallTime now);

// Those of `candidates` that a person may have meant by `word`, best first, three at most.
std::vector<std::string> near_names(std::string_view word, const std::vector<std::string>& candidates);
// "did you mean 'a' or 'b'?", or empty when nothing is near.
std::string did_you_mean(std::string_view word, const std::vector<std::string>& candidates);

std::vector<std::string> split(std::string_view text, char separator);
std::string join(const std::vector<std::string>& parts, std::string_view separator);
std::string_view trim(std::string_view text);

// The unsigned decimal number that is all of `text`, or nothing.
std::optional<uint64_t> parse_number(std::string_view text);
// Hexadecimal digits, with or without 0x before them.
std::optional<uint64_t> parse_address(std::string_view text);

}  // namespace cprewind::base

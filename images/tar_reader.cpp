#include "images/tar_reader.h"

#include <fmt/format.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>

#include "base/error.h"
#include "base/fd.h"
#include "base/text.h"

namespace cprewind::images {

namespace {

constexpr uint64_t k_block = 512;
// A path has at most 4096 bytes on Linux, an attribute 64 KiB; this is what all records of one member may
// have.
constexpr uint64_t k_records_limit = 1u << 20;
constexpr size_t k_path_limit = 4096;

// Fields of a header (POSIX.1-2017, pax, "ustar Interchange Format"): offset and length.
struct Field {
    size_t offset;
    size_t length;
};
constexpr Field k_name{0, 100}, k_mode{100, 8}, k_uid{108, 8}, k_gid{116, 8}, k_size{124, 12},
    k_mtime{136, 12}, k_checksum{148, 8}, k_link{157, 100}, k_magic{257, 6}, k_major{329, 8}, k_minor{337, 8},
    k_prefix{345, 155};
constexpr size_t k_type = 156;

std::string_view text(const char* header, Field field) {
    std::string_view raw(header + field.offset, field.length);
    return raw.substr(0, raw.find('\0'));
}

// Octal digits between blanks or zeros; or, with the high bit of the first byte set, a big-endian number
// (GNU).
std::optional<uint64_t> number(const char* header, Field field) {
    std::string_view raw(header + field.offset, field.length);
    auto byte = [&](size_t i) { return static_cast<unsigned char>(raw[i]); };
    uint64_t value = 0;
    if ((byte(0) & 0x80) != 0) {
        if ((byte(0) & 0x40) != 0) return std::nullopt;  // negative
        for (size_t i = 0; i < raw.size(); ++i) {
            unsigned char part = i == 0 ? byte(0) & 0x7f : byte(i);
            if (value >> 56 != 0) return std::nullopt;
            value = value << 8 | part;
        }
        return value;
    }
    while (!raw.empty() && raw.front() == ' ') raw.remove_prefix(1);
    for (char digit : raw) {
        if (digit == ' ' || digit == '\0') break;
        if (digit < '0' || digit > '7' || value >> 61 != 0) return std::nullopt;
        value = value << 3 | static_cast<uint64_t>(digit - '0');
    }
    return value;
}

bool checksum_is_right(const char* header) {
    auto expected = number(header, k_checksum);
    uint64_t sum = 0;
    for (size_t i = 0; i < k_block; ++i) {
        bool blank = i >= k_checksum.offset && i < k_checksum.offset + k_checksum.length;
        sum += blank ? static_cast<unsigned char>(' ') : static_cast<unsigned char>(header[i]);
    }
    return expected == sum;
}

// "./a//b/" as "a/b". Nothing when it is absolute, has a "..", or cannot be a path at all.
std::optional<std::string> plain_path(std::string_view raw) {
    if (raw.size() > k_path_limit || raw.find('\0') != std::string_view::npos || raw.starts_with('/'))
        return std::nullopt;
    std::string path;
    for (const std::string& part : base::split(raw, '/')) {
        if (part.empty() || part == ".") continue;
        if (part == "..") return std::nullopt;
        path += path.empty() ? part : "/" + part;
    }
    return path;
}

// "1700000000.123456789" as nanoseconds; fractions of other lengths are filled or cut.
std::optional<int64_t> parse_seconds(std::string_view raw) {
    size_t dot = std::min(raw.find('.'), raw.size());
    auto seconds = base::parse_number(raw.substr(0, dot));
    if (!seconds || *seconds > INT64_MAX / 1'000'000'000 - 1) return std::nullopt;
    std::string fraction(raw.substr(std::min(dot + 1, raw.size())).substr(0, 9));
    fraction.resize(9, '0');
    return static_cast<int64_t>(*seconds) * 1'000'000'000 +
           static_cast<int64_t>(base::parse_number(fraction).value_or(0));
}

constexpr std::string_view k_xattr_key = "SCHILY.xattr.";
}  // namespace

// What pax ("x") and GNU ("L", "K") records say about the member behind them.
struct TarReader::Records {
    std::optional<std::string> path;
    std::optional<std::string> link;
    std::optional<uint64_t> size, uid, gid;
    std::optional<int64_t> mtime_ns;
    std::map<std::string, std::string> xattrs;
    bool sparse = false;

    void set(const std::string& key, std::string value) {
        if (key == "path")
            path = std::move(value);
        else if (key == "linkpath")
            link = std::move(value);
        else if (key == "size")
            size = base::parse_number(value);
        else if (key == "uid")
            uid = base::parse_number(value);
        else if (key == "gid")
            gid = base::parse_number(value);
        else if (key == "mtime")
            mtime_ns = parse_seconds(value);
        else if (key.starts_with(k_xattr_key))
            xattrs[key.substr(k_xattr_key.size())] = std::move(value);
        else if (key.starts_with("GNU.sparse."))
            sparse = true;
    }
    // Records "25 path=some/name\n": the number is the length of the whole record. False when broken.
    bool parse_pax(std::string_view data) {
        while (!data.empty()) {
            size_t blank = data.find(' ');
            if (blank == std::string_view::npos) return false;
            auto length = base::parse_number(data.substr(0, blank));
            if (!length || *length > data.size() || *length < blank + 3) return false;
            std::string_view record = data.substr(blank + 1, static_cast<size_t>(*length) - blank - 1);
            size_t equals = record.find('=');
            if (record.back() != '\n' || equals == std::string_view::npos) return false;
            record.remove_suffix(1);
            set(std::string(record.substr(0, equals)),
                std::string(record.substr(std::min(equals + 1, record.size()))));
            data.remove_prefix(static_cast<size_t>(*length));
        }
        return true;
    }
};

bool is_tar(const ImageFile& file) {
    std::array<char, k_block> header;
    if (file.read_at(0, std::as_writable_bytes(std::span(header))) < k_block) return false;
    // The checksum of an old header without magic is chance enough to be wrong on 512 zeros, which sum up
    // too.
    return header[0] != '\0' && checksum_is_right(header.data());
}

void TarReader::report(FindingKind kind, std::string message) {
    if (findings_left_ == 0) return;
    if (--findings_left_ == 0) message += "; more of this archive is not listed";
    add_finding(findings_, {kind, name_, offset_, std::move(message)});
}

// The records in the data of an "x", "L" or "K" header.
bool TarReader::read_records(uint64_t size, char type, Records& records) {
    if (size > k_records_limit) return false;
    std::string data(static_cast<size_t>(size), '\0');
    if (file_->read_at(offset_ + k_block, std::as_writable_bytes(std::span(data.data(), data.size()))) < size)
        return false;
    if (type == 'x') return records.parse_pax(data);
    data.resize(std::min(data.find('\0'), data.size()));
    (type == 'L' ? records.path : records.link) = std::move(data);
    return true;
}

std::optional<TarMember> TarReader::make_member(const char* header, uint64_t size, Records& records) {
    std::string raw_path;
    if (records.path) {
        raw_path = *records.path;
    } else {
        // Only ustar has the prefix; GNU keeps times there.
        bool has_prefix =
            std::memcmp(header + k_magic.offset, "ustar\0", 6) == 0 && header[k_prefix.offset] != '\0';
        raw_path = has_prefix ? fmt::format("{}/{}", text(header, k_prefix), text(header, k_name))
                              : std::string(text(header, k_name));
    }
    char type = header[k_type];
    auto refuse = [&](FindingKind kind, std::string_view why) {
        report(kind, fmt::format("the member \"{}\" {}; it is not read",
                                 base::escape(raw_path.substr(0, 300)), why));
        return std::nullopt;
    };
    auto path = plain_path(raw_path);
    if (!path) return refuse(FindingKind::damaged, "has a path that is absolute, leads out or is too long");
    TarMember member;
    member.path = *path;
    member.mode = static_cast<uint32_t>(number(header, k_mode).value_or(0) & 07777);
    member.uid = static_cast<uint32_t>(records.uid.value_or(number(header, k_uid).value_or(0)));
    member.gid = static_cast<uint32_t>(records.gid.value_or(number(header, k_gid).value_or(0)));
    uint64_t seconds = std::min<uint64_t>(number(header, k_mtime).value_or(0), INT64_MAX / 1'000'000'000);
    member.mtime_ns = records.mtime_ns.value_or(static_cast<int64_t>(seconds) * 1'000'000'000);
    member.xattrs = std::move(records.xattrs);
    member.data_offset = offset_ + k_block;
    std::string link = records.link.value_or(std::string(text(header, k_link)));
    if (records.sparse || type == 'S') return refuse(FindingKind::unknown, "is stored as a sparse file");
    switch (type) {
        case '0':
        case '\0':
        case '7':
            // Before ustar a directory was told by its name alone.
            member.type = raw_path.ends_with('/') ? FileType::directory : FileType::regular;
            break;
        case '1': {
            auto target = plain_path(link);
            if (!target || target->empty())
                return refuse(FindingKind::damaged, "is a hard link that leads out");
            member.is_hard_link = true;
            member.link_target = *target;
            break;
        }
        case '2':
            if (link.empty() || link.find('\0') != std::string::npos)
                return refuse(FindingKind::damaged, "is a symbolic link to nothing");
            member.type = FileType::symlink;
            member.link_target = link;
            break;
        case '3':
        case '4':
            member.type = type == '3' ? FileType::character_device : FileType::block_device;
            member.rdev = makedev(static_cast<unsigned>(number(header, k_major).value_or(0)),
                                  static_cast<unsigned>(number(header, k_minor).value_or(0)));
            break;
        case '5':
            member.type = FileType::directory;
            break;
        case '6':
            member.type = FileType::fifo;
            break;
        default:
            return refuse(FindingKind::unknown,
                          fmt::format("is of the type {:#04x}, which this version does not know",
                                      static_cast<unsigned char>(type)));
    }
    if (member.path.empty() && member.type != FileType::directory)
        return refuse(FindingKind::damaged, "has no name");
    if (member.type == FileType::regular && !member.is_hard_link) member.size = size;
    return member;
}

void TarReader::settle(TarMember& member) {
    if (member.size == 0) return;
    std::byte last;
    if (file_->read_at(member.data_offset + member.size - 1, std::span(&last, 1)) == 1) return;
    // What is there is evidence in any case.
    uint64_t end = file_->size();
    uint64_t there = end > member.data_offset ? std::min(member.size, end - member.data_offset) : 0;
    report(FindingKind::truncated,
           fmt::format("the member \"{}\" says it has {} bytes, but the archive ends after {} of them",
                       base::escape(member.path), member.size, there));
    member.size = there;
    done_ = true;
}

std::optional<TarMember> TarReader::next() {
    Records records;
    while (!done_) {
        std::array<char, k_block> header;
        size_t got = file_->read_at(offset_, std::as_writable_bytes(std::span(header)));
        bool zeros = std::all_of(header.begin(), header.end(), [](char c) { return c == 0; });
        if (got == k_block && zeros) break;
        if (got < k_block) {
            if (offset_ == 0) {
                report(FindingKind::empty, "the archive holds nothing");
            } else {
                report(FindingKind::truncated,
                       "the archive ends without the zeros that close it; members may be missing");
            }
            break;
        }
        auto size = number(header.data(), k_size);
        if (!checksum_is_right(header.data()) || !size || *size > INT64_MAX / 2) {
            report(FindingKind::damaged, "this is no header of a member; what follows is not read");
            break;
        }
        char type = header[k_type];
        if (type == 'x' || type == 'L' || type == 'K') {
            if (!read_records(*size, type, records)) {
                report(FindingKind::damaged, "the records about the next member are damaged or too long");
            }
        }
        bool about_next = type == 'x' || type == 'L' || type == 'K' || type == 'g';
        if (!about_next && records.size) size = std::min<uint64_t>(*records.size, INT64_MAX / 2);
        // Links and devices have no data, whatever they claim (POSIX; GNU writes sizes for hard links).
        if (type >= '1' && type <= '6') size = 0;
        std::optional<TarMember> member;
        if (!about_next) {
            member = make_member(header.data(), *size, records);
            records = {};
        }
        offset_ += k_block + (*size + k_block - 1) / k_block * k_block;
        if (member) return member;
    }
    done_ = true;
    return std::nullopt;
}

}  // namespace cprewind::images

// tar archives made by hand, with whatever a real tool would not write, and compressed as one likes.
#pragma once

#include <fmt/format.h>
#include <zlib.h>
#include <zstd.h>

#include <string>
#include <string_view>

namespace cprewind::images::test {

// One header; `claimed` is the size it states.
inline std::string make_header(std::string_view name, uint64_t claimed, char type = '0',
                               std::string_view link = {}) {
    std::string header(512, '\0');
    header.replace(0, name.size(), name);
    header.replace(100, 7, "0000644");
    if (claimed < uint64_t{1} << 33) {
        header.replace(124, 11, fmt::format("{:011o}", claimed));
    } else {  // as GNU tar does where the digits do not suffice: a big-endian number
        header[124] = '\x80';
        for (size_t i = 0; i < 8; ++i) header[128 + i] = static_cast<char>(claimed >> (56 - 8 * i) & 0xff);
    }
    header[156] = type;
    header.replace(157, link.size(), link);
    header.replace(257, 8,
                   std::string("ustar\0"
                               "00",
                               8));
    header.replace(148, 8, 8, ' ');
    unsigned sum = 0;
    for (char c : header) sum += static_cast<unsigned char>(c);
    header.replace(148, 7, fmt::format("{:06o}", sum) + std::string(1, '\0'));
    return header;
}

inline std::string member(std::string_view name, std::string content, char type = '0') {
    std::string out = make_header(name, content.size(), type);
    content.resize((content.size() + 511) / 512 * 512, '\0');
    return out + content;
}

inline std::string end_of_tar() {
    return std::string(1024, '\0');
}

inline std::string gzip(const std::string& content) {
    z_stream stream{};
    deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
    std::string out(deflateBound(&stream, content.size()), '\0');
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(content.data()));
    stream.avail_in = static_cast<uInt>(content.size());
    stream.next_out = reinterpret_cast<Bytef*>(out.data());
    stream.avail_out = static_cast<uInt>(out.size());
    deflate(&stream, Z_FINISH);
    out.resize(stream.total_out);
    deflateEnd(&stream);
    return out;
}

inline std::string zstd(const std::string& content) {
    std::string out(ZSTD_compressBound(content.size()), '\0');
    out.resize(ZSTD_compress(out.data(), out.size(), content.data(), content.size(), 3));
    return out;
}

}  // namespace cprewind::images::test

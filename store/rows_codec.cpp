#include "store/rows_codec.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/bytes.h"
#include "base/error.h"

namespace cprewind::store {
namespace {

// One description of the fields serves both directions, so that they cannot disagree.
template <typename Codec>
void fields(Codec& codec, ProcessRow& row) {
    codec(row.pid), codec(row.parent_pid), codec(row.command), codec(row.arguments), codec(row.executable);
    codec(row.state), codec(row.threads), codec(row.resident_bytes);
}
template <typename Codec>
void fields(Codec& codec, FdRow& row) {
    codec(row.pid), codec(row.fd), codec(row.kind), codec(row.target);
}
template <typename Codec>
void fields(Codec& codec, MappingRow& row) {
    codec(row.pid), codec(row.start), codec(row.end), codec(row.protection), codec(row.kind), codec(row.path);
    codec(row.dumped_bytes);
}
template <typename Codec>
void fields(Codec& codec, FileRow& row) {
    codec(row.path), codec(row.type), codec(row.size), codec(row.mtime_ns), codec(row.digest);
}

struct Encoder {
    std::string out;

    void operator()(const std::string& text) { base::append_text(out, text); }
    void operator()(uint64_t value) { base::append_integer(out, value); }
    void operator()(int64_t value) { base::append_integer(out, static_cast<uint64_t>(value)); }

    template <typename Row>
    void table(std::vector<Row>& rows) {
        base::append_integer(out, static_cast<uint32_t>(rows.size()));
        for (Row& row : rows) fields(*this, row);
    }
};

struct Decoder {
    base::Cursor cursor;
    bool whole = true;

    void operator()(std::string& text) { take(text, cursor.text()); }
    void operator()(uint64_t& value) { take(value, cursor.integer<uint64_t>()); }
    void operator()(int64_t& value) { take(value, cursor.integer<uint64_t>()); }

    template <typename Row>
    void table(std::vector<Row>& rows) {
        auto count = cursor.integer<uint32_t>();
        // No row is smaller than a field: what is left bounds the loop, and nothing is allocated ahead.
        if (!count || *count > cursor.left()) whole = false;
        for (uint32_t i = 0; whole && i < *count; ++i) fields(*this, rows.emplace_back());
    }

 private:
    template <typename To, typename From>
    void take(To& to, std::optional<From> from) {
        if (from) {
            to = static_cast<To>(std::move(*from));
        } else {
            whole = false;
        }
    }
};

}  // namespace

CatalogRows normalized(CatalogRows rows) {
    for (ProcessRow& row : rows.processes) {
        while (!row.arguments.empty() && row.arguments.back() == '\0') row.arguments.pop_back();
        std::replace(row.arguments.begin(), row.arguments.end(), '\0', ' ');
    }
    return rows;
}

std::string make_rows(const CatalogRows& rows) {
    CatalogRows copy = rows;
    Encoder encoder;
    encoder.table(copy.processes);
    encoder.table(copy.fds);
    encoder.table(copy.mappings);
    encoder.table(copy.files);
    return std::move(encoder.out);
}

CatalogRows parse_rows(std::span<const std::byte> bytes, std::string_view name) {
    CatalogRows rows;
    Decoder decoder{base::Cursor(bytes)};
    decoder.table(rows.processes);
    if (decoder.whole) decoder.table(rows.fds);
    if (decoder.whole) decoder.table(rows.mappings);
    if (decoder.whole) decoder.table(rows.files);
    if (!decoder.whole || !decoder.cursor.at_end()) {
        throw base::Error(base::ErrorKind::damaged,
                          fmt::format("{} is damaged: its catalog rows cannot be read", name));
    }
    return rows;
}

}  // namespace cprewind::store

#include "store/page_index.h"

#include <fmt/format.h>
#include <zstd.h>

#include <algorithm>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/text.h"
#include "store/pack_format.h"

namespace cprewind::store {
namespace {

using base::append_integer;
using base::append_text;
using base::Cursor;

constexpr uint8_t k_delta_bit = 0x80;
// Far above what a terabyte of memory needs, far below what would hurt.
constexpr uint64_t k_max_raw_index = uint64_t{1} << 30;
constexpr uint32_t k_max_packs = 1 << 16;
constexpr uint64_t k_max_slots = k_max_blocks * k_group_pages;

void append_varint(std::string& out, uint64_t value) {
    while (value >= 0x80) {
        out += static_cast<char>((value & 0x7f) | 0x80);
        value >>= 7;
    }
    out += static_cast<char>(value);
}

// `with_places`: what says where in the file a group lies and how it is packed.
std::string encode_parts(const PageIndex& index, bool with_places) {
    std::string out;
    append_integer(out, static_cast<uint32_t>(index.packs.size()));
    for (const SnapshotId& id : index.packs) out += base::as_text(base::Digest::from_hex(id)->bytes);
    append_integer(out, static_cast<uint32_t>(index.spaces.size()));
    for (const std::string& space : index.spaces) append_text(out, space);
    append_integer(out, static_cast<uint32_t>(index.groups.size()));
    for (const PageGroup& group : index.groups) {
        uint8_t kind = with_places ? static_cast<uint8_t>(group.block.kind) : uint8_t{0};
        append_integer(out, static_cast<uint8_t>(kind | (group.is_delta() ? k_delta_bit : 0)));
        append_integer(out, static_cast<uint8_t>(group.pages));
        if (with_places) {
            append_integer(out, group.block.offset);
            append_integer(out, group.block.stored);
        }
        out += base::as_text(group.block.digest.bytes);
        if (with_places) append_integer(out, group.block.frame_check);
        for (const PageRef& base : group.bases) {
            append_varint(out, base.pack);
            append_varint(out, base.slot);
        }
    }
    append_integer(out, static_cast<uint32_t>(index.files.size()));
    for (const PagedFile& file : index.files) {
        append_text(out, file.name);
        append_integer(out, file.size);
        append_varint(out, file.runs.size());
        for (const PageRun& run : file.runs) {
            append_varint(out, run.pages);
            append_varint(out, run.first.pack);
            if (!run.first.is_zero()) append_varint(out, run.first.slot);
        }
        append_varint(out, file.addresses.size());
        for (const AddressRun& run : file.addresses) {
            append_varint(out, run.space);
            append_varint(out, run.address);
            append_varint(out, run.page);
            append_varint(out, run.pages);
        }
    }
    return out;
}

class Parser {
 public:
    Parser(std::span<const std::byte> bytes, std::string_view name) : cursor_(bytes), name_(name) {}

    PageIndex parse(uint64_t groups_end) {
        PageIndex index;
        read_packs(index);
        for (uint32_t left = count("an address space", 4); left > 0; --left) {
            auto text = cursor_.text();
            if (!text) fail("it ends within the name of an address space");
            index.spaces.push_back(std::move(*text));
        }
        read_groups(index);
        check_coverage(index, groups_end);
        for (uint32_t left = count("a file", 12); left > 0; --left) read_file(index);
        if (!cursor_.at_end()) fail(fmt::format("{} unused bytes in its index", cursor_.left()));
        return index;
    }

 private:
    [[noreturn]] void fail(std::string_view what) const { throw_damaged(name_, what); }

    // A number of things of which each takes `least` bytes: what is left bounds the allocation.
    uint32_t count(std::string_view what, size_t least) {
        auto value = cursor_.integer<uint32_t>();
        if (!value || *value > cursor_.left() / least) fail(fmt::format("its index ends within {}", what));
        return *value;
    }

    uint64_t varint() {
        uint64_t value = 0;
        for (unsigned shift = 0; shift < 64; shift += 7) {
            auto byte = cursor_.integer<uint8_t>();
            if (!byte) fail("its index ends within a number");
            value |= uint64_t{*byte & 0x7fu} << shift;
            if ((*byte & 0x80) == 0) return value;
        }
        fail("its index holds a number that is too long");
    }

    void read_packs(PageIndex& index) {
        uint32_t packs = count("a pack's id", 32);
        if (packs > k_max_packs) fail(fmt::format("it refers to {} packs", packs));
        for (uint32_t i = 0; i < packs; ++i) {
            base::Digest digest;
            auto raw = *cursor_.bytes(digest.bytes.size());
            std::copy(raw.begin(), raw.end(), digest.bytes.begin());
            index.packs.push_back(digest.hex());
        }
    }

    PageRef read_ref(const PageIndex& index, uint64_t pack) {
        uint64_t slot = varint();
        if (pack == 0 || pack > index.packs.size() + 1 || slot > UINT32_MAX)
            fail("its index refers to nothing");
        return {static_cast<uint32_t>(pack), static_cast<uint32_t>(slot)};
    }

    void read_groups(PageIndex& index) {
        uint32_t groups = count("a group", 54);
        index.groups.reserve(groups);
        uint64_t slot = 0;
        for (uint32_t i = 0; i < groups; ++i) {
            PageGroup group;
            auto kind = cursor_.integer<uint8_t>();
            auto pages = cursor_.integer<uint8_t>();
            auto offset = cursor_.integer<uint64_t>();
            auto stored = cursor_.integer<uint32_t>();
            auto digest = cursor_.bytes(32);
            auto check = cursor_.integer<uint64_t>();
            if (!check) fail("its index ends within a group");
            uint8_t plain = *kind & static_cast<uint8_t>(~k_delta_bit);
            bool sound = (plain == 1 || plain == 2) && *pages > 0 && *pages <= k_group_pages;
            size_t bytes = *pages * k_page_size;
            sound = sound && (plain == 1 ? *stored == bytes && *check == 0 : *stored > 0 && *stored < bytes);
            if (!sound) fail(fmt::format("group {} of its index is impossible", i));
            group.block = {*offset, *stored, static_cast<BlockKind>(plain), *check, {}};
            std::copy(digest->begin(), digest->end(), group.block.digest.bytes.begin());
            group.pages = *pages;
            group.first_slot = static_cast<uint32_t>(slot);
            slot += *pages;
            if (slot > k_max_slots) fail("it holds more pages than a pack can");
            if ((*kind & k_delta_bit) != 0) {
                for (uint8_t page = 0; page < *pages; ++page)
                    group.bases.push_back(read_ref(index, varint()));
            }
            index.groups.push_back(std::move(group));
        }
        for (const PageGroup& group : index.groups) {
            for (const PageRef& base : group.bases) {
                if (base.pack == k_own_pack &&
                    (base.slot >= slot || index.groups[index.group_of(base.slot)].is_delta())) {
                    fail("a page of its index has a base that is none");
                }
            }
        }
    }

    // Every byte between header and index belongs to one group, as in version 1.
    void check_coverage(const PageIndex& index, uint64_t groups_end) const {
        std::vector<std::pair<uint64_t, uint32_t>> extents;
        for (const PageGroup& group : index.groups)
            extents.emplace_back(group.block.offset, group.block.stored);
        std::sort(extents.begin(), extents.end());
        uint64_t expected = k_header_size;
        for (auto [offset, stored] : extents) {
            if (offset != expected) {
                fail(fmt::format("a group begins at byte {} where byte {} was expected", offset, expected));
            }
            expected += stored;
        }
        if (expected != groups_end) {
            fail(fmt::format("groups end at byte {}, the index begins at {}", expected, groups_end));
        }
    }

    void read_file(PageIndex& index) {
        PagedFile file;
        auto file_name = cursor_.text();
        auto size = file_name ? cursor_.integer<uint64_t>() : std::nullopt;
        if (!size) fail("its index ends within a file");
        if (!is_file_name(*file_name) || (!index.files.empty() && *file_name <= index.files.back().name)) {
            fail(fmt::format("its index holds the file name '{}', which is unsafe or out of order",
                             base::escape(*file_name)));
        }
        file.name = std::move(*file_name);
        file.size = *size;
        if (file.pages() > k_max_slots)
            fail(fmt::format("'{}' claims {} bytes", base::escape(file.name), *size));
        uint64_t pages = 0;
        for (uint64_t left = varint(); left > 0; --left) {
            PageRun run;
            run.pages = varint();
            uint64_t pack = varint();
            if (pack != 0) run.first = read_ref(index, pack);
            bool fits = run.pages > 0 && run.pages <= file.pages() - pages;
            if (pack == k_own_pack) fits = fits && run.first.slot + run.pages <= index.slots();
            if (pack > k_own_pack) fits = fits && run.first.slot + run.pages <= UINT32_MAX;
            if (!fits) fail(fmt::format("the pages of '{}' do not add up", base::escape(file.name)));
            pages += run.pages;
            file.runs.push_back(run);
        }
        if (pages != file.pages())
            fail(fmt::format("the pages of '{}' do not add up", base::escape(file.name)));
        for (uint64_t left = varint(); left > 0; --left) {
            uint64_t space = varint();
            AddressRun run{static_cast<uint32_t>(space), varint(), varint(), varint()};
            if (space >= index.spaces.size() || run.page > file.pages() ||
                run.pages > file.pages() - run.page) {
                fail(fmt::format("the addresses of '{}' do not add up", base::escape(file.name)));
            }
            file.addresses.push_back(run);
        }
        index.files.push_back(std::move(file));
    }

    Cursor cursor_;
    std::string_view name_;
};

}  // namespace

size_t PageIndex::group_of(uint32_t slot) const {
    auto after =
        std::upper_bound(groups.begin(), groups.end(), slot,
                         [](uint32_t value, const PageGroup& group) { return value < group.first_slot; });
    CPREWIND_CHECK(after != groups.begin());
    return static_cast<size_t>(after - groups.begin()) - 1;
}

uint64_t PageIndex::full_slots() const {
    uint64_t slots = 0;
    for (const PageGroup& group : groups) slots += group.is_delta() ? 0 : group.pages;
    return slots;
}

const PagedFile* PageIndex::find(std::string_view name) const {
    auto at =
        std::lower_bound(files.begin(), files.end(), name,
                         [](const PagedFile& file, std::string_view wanted) { return file.name < wanted; });
    return at != files.end() && at->name == name ? &*at : nullptr;
}

uint64_t hint_of(std::span<const std::byte> page) {
    uint64_t hash = XXH3_64bits(page.data(), page.size());
    return hash == 0 ? 1 : hash;
}

std::string encode_page_index(const PageIndex& index) {
    CPREWIND_CHECK(index.hints.size() == index.full_slots());
    std::string raw = encode_parts(index, true);
    std::string frame(ZSTD_compressBound(raw.size()), '\0');
    constexpr int k_level = 3;
    size_t size = ZSTD_compress(frame.data(), frame.size(), raw.data(), raw.size(), k_level);
    CPREWIND_CHECK(ZSTD_isError(size) == 0);
    std::string out;
    append_integer(out, uint64_t{raw.size()});
    append_integer(out, uint64_t{size});
    out.append(frame, 0, size);
    for (uint64_t hint : index.hints) append_integer(out, hint);
    return out;
}

uint64_t parts_end(std::span<const std::byte> head, uint64_t index_size, std::string_view name) {
    Cursor cursor(head);
    auto raw_size = cursor.integer<uint64_t>();
    auto frame_size = cursor.integer<uint64_t>();
    // zstd makes a byte out of no more than some ten thousand; a claim beyond is a bomb.
    if (!frame_size || index_size < k_parts_head || *frame_size > index_size - k_parts_head ||
        *raw_size > k_max_raw_index || *raw_size / (1 << 16) > *frame_size) {
        throw_damaged(name, "the sizes of its index make no sense");
    }
    return k_parts_head + *frame_size;
}

PageIndex parse_page_index(std::span<const std::byte> bytes, uint64_t index_size, uint64_t groups_end,
                           std::string_view name) {
    if (bytes.size() != parts_end(bytes.first(std::min(bytes.size(), k_parts_head)), index_size, name))
        throw_damaged(name, "the sizes of its index make no sense");
    std::vector<std::byte> raw(static_cast<size_t>(*Cursor(bytes).integer<uint64_t>()));
    auto frame = bytes.subspan(k_parts_head);
    if (ZSTD_decompress(raw.data(), raw.size(), frame.data(), frame.size()) != raw.size()) {
        throw_damaged(name, "its index cannot be decompressed");
    }
    PageIndex index = Parser(raw, name).parse(groups_end);
    if (index_size - bytes.size() != index.full_slots() * sizeof(uint64_t))
        throw_damaged(name, "its hints do not match its groups");
    return index;
}

SnapshotId id_of(const PageIndex& index, std::string_view info) {
    std::string text = "cprewind snapshot 2\n" + encode_parts(index, false);
    append_text(text, info);
    return base::digest_of(base::as_bytes(text)).hex();
}

}  // namespace cprewind::store

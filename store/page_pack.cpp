#include "store/page_pack.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "base/error.h"
#include "store/pack_format.h"

namespace cprewind::store {

using base::Error;
using base::ErrorKind;

PagePack::PagePack(const std::filesystem::path& path, const SnapshotId& id, std::string name)
    : id_(id), name_(std::move(name)) {
    fd_ = base::open_file(path, O_RDONLY);
    // Shared, as long as this lives: nobody makes holes into what is being read (store/usage.h). A writer that is about
    // to finish has it for itself; what it wrote is not going to be removed just now.
    ::flock(fd_.get(), LOCK_SH | LOCK_NB);
    size_ = base::file_size(fd_.get(), path.string());
    std::string label = fmt::format("{} (pack {})", name_, path.string());
    auto read = [&](std::span<std::byte> out, uint64_t offset) {
        if (base::pread_full(fd_.get(), out, offset, label) != out.size()) {
            throw_damaged(label, fmt::format("it ends at byte {}", size_));
        }
    };
    std::array<std::byte, k_header_size> header{};
    read(header, 0);
    if (check_header(header, label) != k_paged_version)
        throw_damaged(label, "it is of another version than expected");
    if (size_ < k_header_size + k_trailer_size) throw_damaged(label, "it is too short for a pack");
    std::array<std::byte, k_trailer_size> trailer_bytes{};
    read(trailer_bytes, size_ - k_trailer_size);
    Trailer trailer = parse_trailer(trailer_bytes, size_, label);
    std::array<std::byte, k_parts_head> head{};
    read(std::span(head).first(static_cast<size_t>(std::min<uint64_t>(head.size(), trailer.index_size))),
         trailer.index_offset);
    std::vector<std::byte> parts(static_cast<size_t>(parts_end(head, trailer.index_size, label)));
    read(parts, trailer.index_offset);
    base::Hasher hasher;
    hasher.update(parts);
    hints_offset_ = trailer.index_offset + parts.size();
    std::array<std::byte, 64 << 10> piece;
    uint64_t index_end = trailer.index_offset + trailer.index_size;
    for (uint64_t at = hints_offset_; at < index_end; at += piece.size()) {
        auto some =
            std::span(piece).first(static_cast<size_t>(std::min<uint64_t>(piece.size(), index_end - at)));
        read(some, at);
        hasher.update(some);
    }
    std::vector<std::byte> info(static_cast<size_t>(trailer.info_size));
    read(info, index_end);
    hasher.update(info);
    check_tail(hasher, trailer, label);
    index_ = parse_page_index(parts, trailer.index_size, trailer.index_offset, label);
    uint32_t hints = 0;
    for (uint32_t group = 0; group < index_.groups.size(); ++group) {
        const PageGroup& one = index_.groups[group];
        while (landmarks_.size() * k_group_pages < one.first_slot + one.pages) landmarks_.push_back(group);
        first_hints_.push_back(hints);
        if (!one.is_delta()) hints += one.pages;
    }
    info_ = base::as_text(info);
    number_ = trailer.number;
    SnapshotId found = id_of(index_, info_);
    if (found != id) {
        throw Error(ErrorKind::damaged,
                    fmt::format("{} is damaged: it holds the snapshot with id {}", label, found),
                    "the file may have been renamed; run `cprewind verify`");
    }
}

uint32_t PagePack::group_of(uint32_t slot) const {
    CPREWIND_CHECK(slot / k_group_pages < landmarks_.size());
    uint32_t group = landmarks_[slot / k_group_pages];
    while (slot >= index_.groups[group].first_slot + index_.groups[group].pages) ++group;
    return group;
}

const std::vector<uint64_t>& PagePack::hints() const {
    std::call_once(hints_read_, [&] {
        auto hints = base::populated_vector<uint64_t>(static_cast<size_t>(index_.full_slots()));
        auto bytes = std::as_writable_bytes(std::span(hints));
        if (base::pread_full(fd_.get(), bytes, hints_offset_, name_) != bytes.size())
            throw_damaged(name_, "its pack ends within its hints");
        hints_ = std::move(hints);
    });
    return hints_;
}

bool PagePack::has_its_hints(size_t i, std::span<const std::byte> raw) const {
    if (index_.groups[i].is_delta()) return true;
    for (uint32_t page = 0; page < index_.groups[i].pages; ++page) {
        if (store::hint_of(raw.subspan(page * k_page_size, k_page_size)) != hints()[first_hints_[i] + page])
            return false;
    }
    return true;
}

std::optional<uint64_t> PagePack::hint_of(uint32_t slot) const {
    uint32_t number = group_of(slot);
    const PageGroup& group = index_.groups[number];
    if (group.is_delta()) return std::nullopt;
    return hints()[first_hints_[number] + (slot - group.first_slot)];
}

void PagePack::read_group(size_t i, BlockDecoder& decoder, std::vector<std::byte>& buffer,
                          std::span<std::byte> raw, GroupCheck check) const {
    const BlockEntry& block = index_.groups[i].block;
    if (buffer.size() < block.stored) buffer.resize(block.stored);
    auto stored = std::span(buffer).first(block.stored);
    bool whole = base::pread_full(fd_.get(), stored, block.offset, name_) == stored.size();
    auto is_sound = [&] {
        if (check == GroupCheck::damage && !index_.groups[i].is_delta())
            return decoder.unpack(block, stored, raw) && has_its_hints(i, raw);
        if (check == GroupCheck::damage && block.kind == BlockKind::zstd)
            return frame_check_of(stored) == block.frame_check && decoder.unpack(block, stored, raw);
        return decoder.decode(block, stored, raw);
    };
    if (!whole || !is_sound()) {
        throw Error(ErrorKind::damaged,
                    fmt::format("{} is damaged: group {} (bytes {} to {} of its pack) is not what was stored",
                                name_, i, block.offset, block.offset + block.stored),
                    "run `cprewind verify` to see which snapshots are whole");
    }
}

PackSet::PackSet(std::vector<std::shared_ptr<const PagePack>> packs) : packs_(std::move(packs)) {
    make_translations();
}

void PackSet::make_translations() {
    std::map<SnapshotId, uint32_t> numbers;
    for (uint32_t number = 1; number <= count(); ++number) numbers.emplace(id_of(number), number);
    for (uint32_t i = 0; i < count(); ++i) {
        std::vector<uint32_t>& translation = translations_.emplace_back(std::vector<uint32_t>{0, i + 1});
        if (!packs_[i]) continue;
        // What a pack of ours needs for pages that we do not use may be unknown to us: 0 then, and never asked for.
        for (const SnapshotId& id : packs_[i]->index().packs) {
            auto number = numbers.find(id);
            translation.push_back(number == numbers.end() ? 0 : number->second);
        }
    }
}

PackSet::PackSet(std::shared_ptr<const PagePack> own, const PackOpener& open, LostPack lost) {
    packs_.push_back(std::move(own));
    for (const SnapshotId& id : packs_.front()->index().packs) {
        try {
            packs_.push_back(open(id));
        } catch (const Error& error) {
            if (lost == LostPack::fails) throw;
            packs_.push_back(nullptr);
            losses_.emplace(count(), error);
        }
    }
    make_translations();
    const std::string& name = packs_.front()->name();
    auto check = [&](PageRef page) {
        bool known = page.pack > 0 && page.pack <= count();
        if (!known || (!is_lost(page.pack) && page.slot >= at(page.pack).index().slots())) {
            throw_damaged(name, "it refers to pages that are not in the pack it names");
        }
    };
    for (const PagedFile& file : packs_.front()->index().files) {
        for (const PageRun& run : file.runs) {
            if (run.first.is_zero()) continue;
            check({run.first.pack, static_cast<uint32_t>(run.first.slot + run.pages - 1)});
            if (run.first.pack == k_own_pack || is_lost(run.first.pack)) continue;
            for (uint64_t i = 0; i < run.pages; ++i) {
                auto base = base_of({run.first.pack, static_cast<uint32_t>(run.first.slot + i)});
                if (base) check(*base);
            }
        }
    }
    for (const PageGroup& group : packs_.front()->index().groups) {
        for (const PageRef& base : group.bases) {
            check(base);
            if (!is_lost(base.pack) && base_of(base))
                throw_damaged(name, "a page has a base that is no whole page itself");
        }
    }
}

std::optional<PageRef> PackSet::base_of(PageRef page) const {
    const PageIndex& index = at(page.pack).index();
    const PageGroup& group = index.groups[at(page.pack).group_of(page.slot)];
    if (!group.is_delta()) return std::nullopt;
    return translate(page.pack, group.bases[page.slot - group.first_slot]);
}

std::span<const std::byte> PageReader::slot(PageRef page) {
    // As many as a snapshot may draw from at once (store/page_writer.h bounds it), and their bases.
    constexpr size_t k_most_groups = 32;
    const PagePack& pack = packs_.at(page.pack);
    uint32_t number = pack.group_of(page.slot);
    const PageGroup& group = pack.index().groups[number];
    Key key{page.pack, number};
    auto place = places_.find(key);
    if (place == places_.end()) {
        if (groups_.size() < k_most_groups) {
            groups_.emplace_front();
        } else {
            places_.erase(groups_.back().key);
            groups_.splice(groups_.begin(), groups_, std::prev(groups_.end()));
        }
        Held& held = groups_.front();
        held.key = {0, 0};  // in no map, should reading fail
        if (held.raw.size() < group.bytes()) held.raw = base::Buffer(group.bytes());
        pack.read_group(number, decoder_, buffer_, held.raw.bytes().first(group.bytes()), check_);
        held.key = key;
        place = places_.emplace(key, groups_.begin()).first;
    } else if (place->second != groups_.begin()) {
        groups_.splice(groups_.begin(), groups_, place->second);
    }
    return place->second->raw.bytes().subspan((page.slot - group.first_slot) * k_page_size, k_page_size);
}

std::span<const std::byte> PageReader::whole(PageRef page) {
    return slot(page);
}

void PageReader::read(PageRef page, std::span<std::byte> out) {
    if (page.is_zero()) {
        std::memset(out.data(), 0, out.size());
        return;
    }
    auto base = packs_.base_of(page);
    auto bytes = slot(page);
    std::memcpy(out.data(), bytes.data(), out.size());
    if (!base) return;
    exclusive_or(out, slot(*base));
}

PageLocator::PageLocator(const PagedFile& file) : file_(file) {
    uint64_t page = 0;
    for (const PageRun& run : file.runs) {
        first_pages_.push_back(page);
        page += run.pages;
    }
}

size_t PageLocator::run_of(uint64_t page) const {
    auto after = std::upper_bound(first_pages_.begin(), first_pages_.end(), page);
    return static_cast<size_t>(after - first_pages_.begin()) - 1;
}

PageRef PageLocator::at(uint64_t page) const {
    size_t run = run_of(page);
    PageRef first = file_.runs[run].first;
    if (first.is_zero()) return first;
    return {first.pack, static_cast<uint32_t>(first.slot + (page - first_pages_[run]))};
}

uint64_t PageLocator::run_from(uint64_t page) const {
    size_t run = run_of(page);
    return first_pages_[run] + file_.runs[run].pages - page;
}

}  // namespace cprewind::store

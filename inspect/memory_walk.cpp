#include "inspect/memory_walk.h"

#include <algorithm>
#include <cstring>

#include "base/text.h"

namespace cprewind::inspect {

using images::Mapping;
using images::PageState;
using Part = images::AddressSpace::Part;

namespace {

bool allows(const std::string& wanted, const std::string& has) {
    if (wanted.find_first_of("-?") == std::string::npos) {
        return std::all_of(wanted.begin(), wanted.end(),
                           [&](char letter) { return has.find(letter) != std::string::npos; });
    }
    if (wanted.size() > has.size()) return false;
    for (size_t i = 0; i < wanted.size(); ++i) {
        if (wanted[i] != '?' && wanted[i] != has[i]) return false;
    }
    return true;
}

bool is_called(const Mapping& mapping, const std::string& name) {
    if (name == images::name_of(mapping.kind)) return true;
    if (name.starts_with("0x")) {
        auto address = base::parse_address(name);
        if (address && mapping.start <= *address && *address < mapping.end) return true;
    }
    return mapping.path.find(name) != std::string::npos;
}

// Pieces in address order become extents.
class ExtentMaker {
 public:
    ExtentMaker(WalkedMemory& out, uint64_t reach) : out_(out), reach_(reach) {}
    ~ExtentMaker() { close(); }
    ExtentMaker(const ExtentMaker&) = delete;
    ExtentMaker& operator=(const ExtentMaker&) = delete;

    void add(MemoryPiece piece) {
        if (!pieces_.empty() && pieces_.back().end() != piece.address) close();
        if (piece.own) {
            out_.own_bytes += piece.bytes;
            owns_ = true;
        } else if (piece.bytes > 2 * reach_) {
            MemoryPiece head = piece;
            head.bytes = reach_;
            push(head);
            close();
            piece.object_offset += piece.bytes - reach_;
            piece.address += piece.bytes - reach_;
            piece.bytes = reach_;
        }
        push(piece);
    }

    void close() {
        if (owns_) out_.extents.push_back({std::move(pieces_)});
        pieces_.clear();
        owns_ = false;
    }

 private:
    void push(const MemoryPiece& piece) {
        if (!pieces_.empty()) {
            MemoryPiece& last = pieces_.back();
            bool joins = last.state == piece.state && last.mapping == piece.mapping &&
                         last.own == piece.own && last.shared == piece.shared &&
                         (!piece.shared || last.object_offset + last.bytes == piece.object_offset);
            if (joins) {
                last.bytes += piece.bytes;
                return;
            }
        }
        pieces_.push_back(piece);
    }

    WalkedMemory& out_;
    uint64_t reach_;
    std::vector<MemoryPiece> pieces_;
    bool owns_ = false;
};

// Cuts a part of a shared object by what was seen of it, and notes that it has been now.
void add_shared(ExtentMaker& maker, MemoryPiece piece, std::map<uint64_t, uint64_t>& seen) {
    piece.shared = true;
    uint64_t offset = piece.object_offset;
    const uint64_t begin = offset, end = offset + piece.bytes, shift = piece.address - offset;
    auto add = [&](uint64_t from, uint64_t to, bool own) {
        piece.address = from + shift;
        piece.object_offset = from;
        piece.bytes = to - from;
        piece.own = own;
        if (from < to) maker.add(piece);
    };
    auto next = seen.upper_bound(offset);
    if (next != seen.begin() && std::prev(next)->second > offset) --next;
    for (; next != seen.end() && next->first < end; ++next) {
        if (next->first > offset) add(offset, next->first, true);
        uint64_t stop = std::min(end, next->second);
        add(std::max(offset, next->first), stop, false);
        offset = stop;
    }
    add(offset, end, true);
    // One interval for all that touch.
    uint64_t joined_begin = begin, joined_end = end;
    auto first = seen.upper_bound(begin);
    if (first != seen.begin() && std::prev(first)->second >= begin) --first;
    while (first != seen.end() && first->first <= end) {
        joined_begin = std::min(joined_begin, first->first);
        joined_end = std::max(joined_end, first->second);
        first = seen.erase(first);
    }
    seen[joined_begin] = joined_end;
}

void note_unread(WalkedMemory& out, images::DumpPid pid, const Mapping* mapping, const Part& part) {
    // Pages of one mapping alternate between states; there are few states.
    for (auto last = out.unread.rbegin(); last != out.unread.rend() && last->mapping == mapping; ++last) {
        if (last->state != part.state) continue;
        last->bytes += part.bytes;
        return;
    }
    out.unread.push_back({pid, mapping, part.address, part.bytes, part.state});
}

}  // namespace

bool MemoryFilter::selects(images::DumpPid pid) const {
    return pids.empty() || std::find(pids.begin(), pids.end(), pid) != pids.end();
}

bool MemoryFilter::selects(const Mapping* candidate) const {
    if (candidate == nullptr) return kinds.empty() && protection.empty() && mapping.empty();
    if (!kinds.empty() && std::find(kinds.begin(), kinds.end(), candidate->kind) == kinds.end()) return false;
    if (!mapping.empty() && !is_called(*candidate, mapping)) return false;
    return protection.empty() || allows(protection, images::protection_text(*candidate));
}

std::vector<images::AddressRange> sorted_ranges(std::vector<images::AddressRange> ranges) {
    std::sort(ranges.begin(), ranges.end(), [](const auto& a, const auto& b) { return a.start < b.start; });
    std::vector<images::AddressRange> out;
    for (const images::AddressRange& range : ranges) {
        if (!out.empty() && range.start <= out.back().end) {
            out.back().end = std::max(out.back().end, range.end);
        } else {
            out.push_back(range);
        }
    }
    return out;
}

const MemoryPiece& MemoryExtent::at(uint64_t address) const {
    auto after = std::partition_point(pieces.begin(), pieces.end(),
                                      [&](const MemoryPiece& piece) { return piece.end() <= address; });
    return after == pieces.end() ? pieces.back() : *after;
}

bool MemoryExtent::has_own(uint64_t address, uint64_t bytes) const {
    auto piece = std::partition_point(pieces.begin(), pieces.end(),
                                      [&](const MemoryPiece& each) { return each.end() <= address; });
    for (; piece != pieces.end() && piece->address < address + bytes; ++piece) {
        if (piece->own) return true;
    }
    return false;
}

WalkedMemory walk_memory(const images::Process& process, const images::AddressSpace& memory,
                         const MemoryFilter& filter, SeenObjects& seen, uint64_t reach) {
    WalkedMemory out;
    ExtentMaker maker(out, reach);
    auto mapping = process.mappings.begin();
    auto visit = [&](const Part& part) {
        while (mapping != process.mappings.end() && mapping->end <= part.address) ++mapping;
        bool covered = mapping != process.mappings.end() && mapping->start <= part.address;
        const Mapping* covering = covered ? &*mapping : nullptr;
        if (part.state == PageState::unmapped || !filter.selects(covering)) return;
        MemoryPiece piece{part.address, part.bytes, part.state, covering};
        if (part.state == PageState::present && part.pages != &memory.own_pages() && covering != nullptr) {
            piece.object_offset = part.run_address;
            add_shared(maker, piece, seen[covering->shmid]);
        } else if (part.state == PageState::present) {
            maker.add(piece);
        } else if (part.state == PageState::zero) {
            out.zero_bytes += part.bytes;
            piece.own = false;
            maker.add(piece);
        } else {
            note_unread(out, process.pid, covering, part);
        }
    };
    if (filter.ranges.empty()) memory.visit(0, UINT64_MAX, visit);
    for (const images::AddressRange& range : filter.ranges) {
        memory.visit(range.start, range.end - range.start, visit);
    }
    maker.close();
    return out;
}

void read_extent(const images::AddressSpace& memory, uint64_t address, std::span<std::byte> out) {
    memory.visit(address, out.size(), [&](const Part& part) {
        auto piece =
            out.subspan(static_cast<size_t>(part.address - address), static_cast<size_t>(part.bytes));
        if (part.state == PageState::present) {
            part.pages->read_run(*part.run, part.run_address, piece);
        } else {
            std::memset(piece.data(), 0, piece.size());
        }
    });
}

}  // namespace cprewind::inspect

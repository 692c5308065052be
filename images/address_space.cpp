#include <fmt/format.h>

#include <algorithm>

#include "images/image_kinds.h"
#include "images/pages.h"

namespace cprewind::images {

namespace {

// What memory of a mapping is that no run covers.
PageState uncovered_state(MappingKind kind) {
    switch (kind) {
        case MappingKind::anonymous:
        case MappingKind::heap:
        case MappingKind::stack:
        case MappingKind::anonymous_shared:
        case MappingKind::sysv_shared:
        case MappingKind::memfd:
        case MappingKind::shadow_stack:
        case MappingKind::aio_ring:
            return PageState::zero;
        case MappingKind::file_private:
        case MappingKind::file_shared:
            return PageState::from_file;
        case MappingKind::vdso:
        case MappingKind::vvar:
        case MappingKind::vsyscall:
        case MappingKind::socket:
        case MappingKind::guard:
        case MappingKind::uprobes:
            return PageState::kernel;
        case MappingKind::plugin:
        case MappingKind::unknown:
            break;
    }
    return PageState::missing;
}

using Part = AddressSpace::Part;
using Visit = std::function<void(const Part&)>;

// Parts of [begin, end) as `map` has them, whose addresses are `shift` (modulo 2^64) above; `gap` is called
// for what it does not cover.
template <typename Gap>
void visit_runs(const PageMap& map, uint64_t begin, uint64_t end, uint64_t shift, const Visit& visit,
                Gap&& gap) {
    uint64_t place = begin + shift;
    const uint64_t last = end + shift;
    for (size_t i = map.find(place); place < last; ++i) {
        const PageRun* run = i < map.runs().size() ? &map.runs()[i] : nullptr;
        uint64_t run_begin = run ? std::clamp(run->address, place, last) : last;
        if (run_begin > place) gap(place - shift, run_begin - shift);
        if (run_begin == last) return;
        uint64_t stop = std::min(last, run->end());
        visit({run_begin - shift, stop - run_begin, run->state, &map, run, run_begin});
        place = stop;
    }
}

}  // namespace

AddressSpace::AddressSpace(const ImageSource& source, const Process& process, Findings& findings)
    : process_(process), own_(PageMap::open_process(source, process.pid, findings)) {
    uint64_t page = own_.page_size();
    bool fits = std::all_of(process.mappings.begin(), process.mappings.end(), [&](const Mapping& mapping) {
        // The kernel's own at the end of the address space is of no whole pages anywhere.
        return mapping.kind == MappingKind::vsyscall || (mapping.start | mapping.end) % page == 0;
    });
    if (!fits) {
        add_finding(findings,
                    {FindingKind::damaged,
                     image_file_name(image_kind("PAGEMAP"), process.pid.value),
                     {},
                     fmt::format("it seems to be about pages of {} bytes, but the mappings are not; "
                                 "entries may be lost",
                                 page)});
    }
    for (const Mapping& mapping : process.mappings) {
        if (!mapping.has_object() || objects_.contains(mapping.shmid)) continue;
        // A memfd whose file is lost; said when the mapping was loaded.
        if (mapping.kind == MappingKind::memfd && !mapping.file_id) continue;
        objects_.emplace(mapping.shmid, PageMap::open_shared(source, mapping.shmid, findings));
    }
}

void AddressSpace::visit_mapping(const Mapping& mapping, uint64_t begin, uint64_t end,
                                 const Visit& visit) const {
    auto object = mapping.has_object() ? objects_.find(mapping.shmid) : objects_.end();
    PageState uncovered = uncovered_state(mapping.kind);
    auto through_object = [&](uint64_t from, uint64_t to) {
        auto plain = [&](uint64_t gap_from, uint64_t gap_to) {
            visit({gap_from, gap_to - gap_from, uncovered, nullptr, nullptr, 0});
        };
        if (object == objects_.end()) {
            visit({from, to - from, mapping.has_object() ? PageState::missing : uncovered, nullptr, nullptr,
                   0});
        } else if (mapping.offset > UINT64_MAX - (to - mapping.start)) {
            visit({from, to - from, PageState::missing, nullptr, nullptr, 0});
        } else {
            visit_runs(object->second, from, to, mapping.offset - mapping.start, visit, plain);
        }
    };
    if (mapping.shares_memory()) {
        through_object(begin, end);
    } else {
        visit_runs(own_, begin, end, 0, visit, through_object);
    }
}

void AddressSpace::visit(uint64_t address, uint64_t bytes, const Visit& visit) const {
    uint64_t end = bytes > UINT64_MAX - address ? UINT64_MAX : address + bytes;
    const auto& mappings = process_.mappings;
    auto next = std::partition_point(mappings.begin(), mappings.end(),
                                     [&](const Mapping& mapping) { return mapping.end <= address; });
    // Pages that no mapping covers are evidence all the same: the list of mappings may be what is damaged.
    auto outside = [&](uint64_t from, uint64_t to) {
        visit({from, to - from, PageState::unmapped, nullptr, nullptr, 0});
    };
    while (address < end) {
        uint64_t stop = next != mappings.end() ? std::min(next->start, end) : end;
        if (stop > address) visit_runs(own_, address, stop, 0, visit, outside);
        address = std::max(address, stop);
        if (next == mappings.end() || address >= end) break;
        stop = std::min(next->end, end);
        visit_mapping(*next, address, stop, visit);
        address = stop;
        ++next;
    }
}

std::vector<PageSpan> AddressSpace::read(uint64_t address, std::span<std::byte> out) const {
    std::vector<PageSpan> spans;
    std::fill(out.begin(), out.end(), std::byte{0});
    visit(address, out.size(), [&](const Part& part) {
        if (part.state == PageState::present) {
            auto piece =
                out.subspan(static_cast<size_t>(part.address - address), static_cast<size_t>(part.bytes));
            part.pages->read_run(*part.run, part.run_address, piece);
        }
        if (!spans.empty() && spans.back().state == part.state) {
            spans.back().bytes += part.bytes;
        } else {
            spans.push_back({part.address, part.bytes, part.state});
        }
    });
    return spans;
}

size_t AddressSpace::file_count() const {
    size_t count = own_.file_count();
    for (const auto& [shmid, object] : objects_) count += object.file_count();
    return count;
}

size_t AddressSpace::run_count() const {
    size_t count = own_.runs().size();
    for (const auto& [shmid, object] : objects_) count += object.runs().size();
    return count;
}

void AddressSpace::expect(AddressRange range) const {
    if (range.end <= range.start) return;
    visit(range.start, range.end - range.start, [](const Part& part) {
        if (part.state == PageState::present) part.pages->expect_run(*part.run, part.run_address, part.bytes);
    });
}

std::string read_range(const AddressSpace& memory, AddressRange range, uint64_t limit, bool& complete) {
    uint64_t wanted = range.end > range.start ? range.end - range.start : 0;
    uint64_t size = std::min(wanted, limit);
    std::string text(static_cast<size_t>(size), '\0');
    auto spans = memory.read(range.start, std::as_writable_bytes(std::span(text.data(), text.size())));
    uint64_t known = 0;
    for (const PageSpan& span : spans) {
        if (span.state != PageState::present && span.state != PageState::zero) break;
        known += span.bytes;
    }
    complete = known == wanted;
    text.resize(static_cast<size_t>(known));
    return text;
}

}  // namespace cprewind::images

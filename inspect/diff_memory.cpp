// Memory is compared by merging two lists of segments, each a piece of one mapping in one state, in address
// order. Only where both sides hold bytes are bytes read, in large pieces and once; so the speed is that of
// memcmp and the page cache.
#include <algorithm>
#include <cstring>
#include <limits>
#include <map>
#include <set>

#include "images/image_kinds.h"
#include "images/pages.h"
#include "inspect/diff.h"

namespace cprewind::inspect {

namespace {

using images::AddressSpace;
using images::Mapping;
using images::PageMap;
using images::PageState;
using images::Process;
using images::RunStream;

struct Segment {
    uint64_t address = 0;
    uint64_t bytes = 0;
    PageState state = PageState::unmapped;
    const images::PageRun* run = nullptr;  // when present
    uint64_t run_address = 0;
    const PageMap* pages = nullptr;
    const Mapping* mapping = nullptr;

    uint64_t end() const { return address + bytes; }
};

// Content of segments, whichever map they come from.
class Side {
 public:
    std::span<const std::byte> at(const Segment& segment, uint64_t address) {
        auto stream = streams_.try_emplace(segment.pages, *segment.pages).first;
        auto bytes = stream->second.at(*segment.run, segment.run_address + (address - segment.address));
        return bytes.first(static_cast<size_t>(std::min<uint64_t>(bytes.size(), segment.end() - address)));
    }

 private:
    std::map<const PageMap*, RunStream> streams_;
};

class Meter {
 public:
    Meter(const Progress& progress, uint64_t total) : progress_(progress), total_(total) {}
    void add(uint64_t bytes) {
        constexpr uint64_t k_step = 8u << 20;
        done_ += bytes;
        if (!progress_ || done_ < next_) return;
        next_ = done_ + k_step;
        progress_(std::min(done_, total_), total_);
    }

 private:
    const Progress& progress_;
    uint64_t total_;
    uint64_t done_ = 0;
    uint64_t next_ = 0;
};

bool all_zero(std::span<const std::byte> bytes) {
    return bytes.empty() ||
           (bytes[0] == std::byte{0} && std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0);
}

bool is_unknown(PageState state) {
    return state == PageState::parent || state == PageState::lazy || state == PageState::missing;
}

struct Comparison {
    uint64_t page = 4096;
    Side a;
    Side b;
    Meter& meter;

    PageChanges contents(const Segment& before, const Segment& after, uint64_t begin, uint64_t end);
    PageChanges one_sided(Side& side, const Segment& present, PageState other, bool is_new, uint64_t begin,
                          uint64_t end);
    PageChanges pages(const Segment* before, const Segment* after, uint64_t begin, uint64_t end);
};

PageChanges Comparison::contents(const Segment& before, const Segment& after, uint64_t begin, uint64_t end) {
    PageChanges out;
    while (begin < end) {
        auto old_bytes = a.at(before, begin);
        auto new_bytes = b.at(after, begin);
        size_t size =
            static_cast<size_t>(std::min<uint64_t>({old_bytes.size(), new_bytes.size(), end - begin}));
        if (std::memcmp(old_bytes.data(), new_bytes.data(), size) == 0) {
            out.equal += size / page;
        } else {
            for (size_t at = 0; at < size; at += page) {
                auto old_page = old_bytes.subspan(at, page);
                auto new_page = new_bytes.subspan(at, page);
                if (std::memcmp(old_page.data(), new_page.data(), page) == 0) {
                    ++out.equal;
                } else if (all_zero(new_page)) {
                    ++out.zeroed;
                } else if (all_zero(old_page)) {
                    ++out.added;
                } else {
                    ++out.changed;
                }
            }
        }
        begin += size;
        meter.add(2 * size);
    }
    return out;
}

// A page that was dumped although it is all zero is the same as one that was not dumped because it is.
PageChanges Comparison::one_sided(Side& side, const Segment& present, PageState other, bool is_new,
                                  uint64_t begin, uint64_t end) {
    PageChanges out;
    if (other != PageState::zero) {
        (is_new ? out.added : out.gone) = (end - begin) / page;
        meter.add(end - begin);
        return out;
    }
    while (begin < end) {
        auto bytes = side.at(present, begin);
        bytes = bytes.first(static_cast<size_t>(std::min<uint64_t>(bytes.size(), end - begin)));
        for (size_t at = 0; at < bytes.size(); at += page) {
            if (all_zero(bytes.subspan(at, page))) {
                ++out.equal;
            } else {
                ++(is_new ? out.added : out.zeroed);
            }
        }
        begin += bytes.size();
        meter.add(bytes.size());
    }
    return out;
}

PageChanges Comparison::pages(const Segment* before, const Segment* after, uint64_t begin, uint64_t end) {
    PageState old_state = before ? before->state : PageState::unmapped;
    PageState new_state = after ? after->state : PageState::unmapped;
    if (is_unknown(old_state) || is_unknown(new_state)) {
        PageChanges out;
        out.unknown = (end - begin) / page;
        return out;
    }
    bool old_content = old_state == PageState::present;
    bool new_content = new_state == PageState::present;
    if (old_content && new_content) return contents(*before, *after, begin, end);
    if (new_content) return one_sided(b, *after, old_state, true, begin, end);
    if (old_content) return one_sided(a, *before, new_state, false, begin, end);
    return {};  // nothing was stored on either side; a change of the mapping is told as such
}

std::vector<Segment> private_segments(const AddressSpace& memory, const Process& process) {
    std::vector<Segment> segments;
    for (const Mapping& mapping : process.mappings) {
        if (mapping.shares_memory()) continue;
        memory.visit(mapping.start, mapping.size(), [&](const AddressSpace::Part& part) {
            segments.push_back(
                {part.address, part.bytes, part.state, part.run, part.run_address, part.pages, &mapping});
        });
    }
    return segments;
}

// What an object of shared memory does not cover is zero, but for how far it reaches nobody needs to know.
std::vector<Segment> object_segments(const PageMap& object) {
    std::vector<Segment> segments;
    uint64_t place = 0;
    for (const images::PageRun& run : object.runs()) {
        if (run.address > place)
            segments.push_back({place, run.address - place, PageState::zero, {}, 0, {}, {}});
        segments.push_back({run.address, run.bytes, run.state, &run, run.address, &object, nullptr});
        place = run.end();
    }
    if (place < std::numeric_limits<uint64_t>::max()) {
        segments.push_back(
            {place, std::numeric_limits<uint64_t>::max() - place, PageState::zero, {}, 0, {}, {}});
    }
    return segments;
}

// Calls `each` with the segments that cover [begin, end) on either side, in address order.
template <typename Each>
void merge(const std::vector<Segment>& a, const std::vector<Segment>& b, Each&& each) {
    size_t i = 0, j = 0;
    uint64_t place = 0;
    while (i < a.size() || j < b.size()) {
        const Segment* before = i < a.size() ? &a[i] : nullptr;
        const Segment* after = j < b.size() ? &b[j] : nullptr;
        uint64_t old_begin = before ? std::max(before->address, place) : std::numeric_limits<uint64_t>::max();
        uint64_t new_begin = after ? std::max(after->address, place) : std::numeric_limits<uint64_t>::max();
        uint64_t begin = std::min(old_begin, new_begin);
        uint64_t end = std::numeric_limits<uint64_t>::max();
        if (before) end = std::min(end, old_begin == begin ? before->end() : old_begin);
        if (after) end = std::min(end, new_begin == begin ? after->end() : new_begin);
        if (end > begin)
            each(old_begin == begin ? before : nullptr, new_begin == begin ? after : nullptr, begin, end);
        place = end;
        if (before && before->end() <= place) ++i;
        if (after && after->end() <= place) ++j;
    }
}

void add_to_mapping(std::vector<MappingPages>& list, const Segment* before, const Segment* after,
                    const PageChanges& changes) {
    if (changes.different() == 0 && changes.unknown == 0) return;
    const Mapping& mapping = after ? *after->mapping : *before->mapping;
    images::AddressRange range{mapping.start, mapping.end};
    if (list.empty() || list.back().range != range) {
        list.push_back({range, images::name_of(mapping.kind), mapping.path, {}});
    }
    list.back().pages += changes;
}

// --- mappings ---

MappingChange make_mapping_change(MappingFate fate, const Mapping* before, const Mapping* after) {
    MappingChange change;
    change.fate = fate;
    const Mapping& named = after ? *after : *before;
    change.kind = images::name_of(named.kind);
    change.path = named.path;
    if (before) {
        change.before = {before->start, before->end};
        change.protection_before = images::protection_text(*before);
    }
    if (after) {
        change.after = {after->start, after->end};
        change.protection_after = images::protection_text(*after);
    }
    return change;
}

bool same_thing(const Mapping& a, const Mapping& b) {
    return a.kind == b.kind && a.path == b.path;
}

std::vector<MappingChange> diff_mappings(const Process& a, const Process& b) {
    std::vector<MappingChange> changes;
    std::map<uint64_t, const Mapping*> by_start, by_end;
    for (const Mapping& mapping : a.mappings) {
        by_start.emplace(mapping.start, &mapping);
        by_end.emplace(mapping.end, &mapping);
    }
    std::set<const Mapping*> used;
    std::vector<const Mapping*> unmatched;
    for (const Mapping& after : b.mappings) {
        auto old = by_start.find(after.start);
        if (old == by_start.end()) {
            unmatched.push_back(&after);
            continue;
        }
        const Mapping& before = *old->second;
        used.insert(&before);
        if (!same_thing(before, after)) {
            changes.push_back(make_mapping_change(MappingFate::replaced, &before, &after));
            continue;
        }
        if (before.end != after.end) {
            MappingFate fate = after.end > before.end ? MappingFate::grown : MappingFate::shrunk;
            changes.push_back(make_mapping_change(fate, &before, &after));
        }
        if (before.protection != after.protection) {
            changes.push_back(make_mapping_change(MappingFate::protection, &before, &after));
        }
    }
    // Stacks grow at their beginning.
    for (const Mapping* after : unmatched) {
        auto old = by_end.find(after->end);
        if (old != by_end.end() && !used.contains(old->second) && same_thing(*old->second, *after)) {
            used.insert(old->second);
            MappingFate fate = after->start < old->second->start ? MappingFate::grown : MappingFate::shrunk;
            changes.push_back(make_mapping_change(fate, old->second, after));
        } else {
            changes.push_back(make_mapping_change(MappingFate::added, nullptr, after));
        }
    }
    for (const Mapping& before : a.mappings) {
        if (!used.contains(&before))
            changes.push_back(make_mapping_change(MappingFate::removed, &before, nullptr));
    }
    std::sort(changes.begin(), changes.end(), [](const MappingChange& x, const MappingChange& y) {
        return std::max(x.after.start, x.before.start) < std::max(y.after.start, y.before.start);
    });
    return changes;
}

// --- processes and objects ---

// Objects of shared memory by which they are told: the kernel's numbers differ after a rewind, so that two
// are taken for the same when the same process has them at the same address.
struct Objects {
    std::map<uint64_t, uint64_t> pairs;  // of a to that of b
    std::set<uint64_t> only_a, only_b;
};

void collect_objects(const Process* a, const Process* b, Objects& objects) {
    std::map<uint64_t, uint64_t> before;  // address to object
    if (a) {
        for (const Mapping& mapping : a->mappings) {
            if (!mapping.shares_memory()) continue;
            before.emplace(mapping.start, mapping.shmid);
            objects.only_a.insert(mapping.shmid);
        }
    }
    if (!b) return;
    for (const Mapping& mapping : b->mappings) {
        if (!mapping.shares_memory()) continue;
        objects.only_b.insert(mapping.shmid);
        auto old = before.find(mapping.start);
        if (old != before.end()) objects.pairs.emplace(old->second, mapping.shmid);
    }
}

uint64_t page_bytes_of(const images::ImageSource& source) {
    uint64_t bytes = 0;
    for (const std::string& name : source.list()) {
        auto found = images::find_image_kind(name);
        if (!found || std::string_view(found->kind->name) != "PAGES") continue;
        if (auto file = source.open(name)) bytes += file->size();
    }
    return bytes;
}

bool has_memory(const Process& process) {
    return process.state != images::ProcessState::zombie;
}

ProcessMemoryDiff diff_process(Moment a, Moment b, const Process* before, const Process* after, Meter& meter,
                               images::Findings& findings) {
    ProcessMemoryDiff out;
    out.pid = after ? after->pid : before->pid;
    out.comm = after ? after->comm : before->comm;
    out.only_in_a = after == nullptr;
    out.only_in_b = before == nullptr;
    std::optional<AddressSpace> old_memory, new_memory;
    std::vector<Segment> old_segments, new_segments;
    if (before && has_memory(*before)) {
        old_memory.emplace(a.source, *before, findings);
        old_segments = private_segments(*old_memory, *before);
    }
    if (after && has_memory(*after)) {
        new_memory.emplace(b.source, *after, findings);
        new_segments = private_segments(*new_memory, *after);
    }
    out.page_size = std::min(old_memory ? old_memory->page_size() : UINT64_MAX,
                             new_memory ? new_memory->page_size() : UINT64_MAX);
    if (out.page_size == UINT64_MAX) out.page_size = 4096;
    Comparison comparison{out.page_size, {}, {}, meter};
    merge(old_segments, new_segments, [&](const Segment* x, const Segment* y, uint64_t begin, uint64_t end) {
        PageChanges changes = comparison.pages(x, y, begin, end);
        out.pages += changes;
        add_to_mapping(out.by_mapping, x, y, changes);
    });
    if (before && after) out.mappings = diff_mappings(*before, *after);
    return out;
}

PageChanges diff_objects(Moment a, Moment b, std::optional<uint64_t> before, std::optional<uint64_t> after,
                         Meter& meter, images::Findings& findings) {
    PageMap old_object, new_object;
    std::vector<Segment> old_segments, new_segments;
    if (before) {
        old_object = PageMap::open_shared(a.source, *before, findings);
        old_segments = object_segments(old_object);
    }
    if (after) {
        new_object = PageMap::open_shared(b.source, *after, findings);
        new_segments = object_segments(new_object);
    }
    PageChanges out;
    Comparison comparison{std::min(old_object.page_size(), new_object.page_size()), {}, {}, meter};
    merge(old_segments, new_segments, [&](const Segment* x, const Segment* y, uint64_t begin, uint64_t end) {
        out += comparison.pages(x, y, begin, end);
    });
    return out;
}

}  // namespace

PageChanges& PageChanges::operator+=(const PageChanges& other) {
    equal += other.equal;
    changed += other.changed;
    added += other.added;
    gone += other.gone;
    zeroed += other.zeroed;
    unknown += other.unknown;
    return *this;
}

bool MemoryDiff::same() const {
    return total.different() == 0 && total.unknown == 0 &&
           std::all_of(processes.begin(), processes.end(), [](const ProcessMemoryDiff& process) {
               return process.same() && !process.only_in_a && !process.only_in_b;
           });
}

MemoryDiff diff_memory(Moment a, Moment b, const Progress& progress) {
    MemoryDiff diff;
    Meter meter(progress, progress ? page_bytes_of(a.source) + page_bytes_of(b.source) : 0);
    Objects objects;
    auto add = [&](const Process* before, const Process* after) {
        collect_objects(before, after, objects);
        ProcessMemoryDiff process = diff_process(a, b, before, after, meter, diff.findings);
        diff.total += process.pages;
        diff.total_different_bytes += process.pages.different() * process.page_size;
        diff.processes.push_back(std::move(process));
    };
    for (const Process& before : a.checkpoint.processes) {
        if (b.checkpoint.find_process(before.pid) == nullptr) add(&before, nullptr);
    }
    for (const Process& after : b.checkpoint.processes) add(a.checkpoint.find_process(after.pid), &after);

    for (auto [before, after] : objects.pairs) {
        diff.shared += diff_objects(a, b, before, after, meter, diff.findings);
        objects.only_a.erase(before);
        objects.only_b.erase(after);
    }
    for (uint64_t id : objects.only_a) diff.shared += diff_objects(a, b, id, {}, meter, diff.findings);
    for (uint64_t id : objects.only_b) diff.shared += diff_objects(a, b, {}, id, meter, diff.findings);
    diff.total += diff.shared;
    uint64_t page = diff.processes.empty() ? 4096 : diff.processes.front().page_size;
    diff.total_different_bytes += diff.shared.different() * page;
    return diff;
}

}  // namespace cprewind::inspect

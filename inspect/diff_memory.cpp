// Memory is compared by merging two lists of segments, each a piece of one mapping in one state, in address
// order. Only where both sides hold bytes are bytes read, in large pieces and once; so the speed is that of
// memcmp and the page cache.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <map>
#include <set>

#include "images/image_kinds.h"
#include "images/pages.h"
#include "inspect/diff.h"
#include "inspect/diff_mappings.h"

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

images::Likeness likeness(const Segment& before, const Segment& after, uint64_t address, uint64_t bytes) {
    return before.pages->likeness(*before.run, before.run_address + (address - before.address), *after.pages,
                                  *after.run, after.run_address + (address - after.address), bytes);
}

bool is_unknown(PageState state) {
    return state == PageState::parent || state == PageState::lazy || state == PageState::missing;
}

// Pages of one address space, or of one object of shared memory, of two sides.
struct Comparison {
    uint64_t page = 4096;
    Meter& meter;
    const PageVisitor& visit;  // may be empty
    PagePair pair;             // what the visitor gets; whose it is is filled in by the maker
    Side a;
    Side b;

    void tell(PageFate fate, uint64_t address, std::span<const std::byte> before,
              std::span<const std::byte> after) {
        if (!visit) return;
        pair.fate = fate;
        pair.address = address;
        pair.before = before;
        pair.after = after;
        visit(pair);
    }

    PageChanges contents(const Segment& before, const Segment& after, uint64_t begin, uint64_t end);
    PageChanges one_sided(Side& side, const Segment& present, PageState other, bool is_new, uint64_t begin,
                          uint64_t end);
    PageChanges pages(const Segment* before, const Segment* after, uint64_t begin, uint64_t end);
};

PageChanges Comparison::contents(const Segment& before, const Segment& after, uint64_t begin, uint64_t end) {
    PageChanges out;
    while (begin < end) {
        // A visitor wants to see what differs; what is the same nobody has to read.
        images::Likeness known = likeness(before, after, begin, end - begin);
        bool equal = known.answer == images::Likeness::Answer::equal;
        bool different = known.answer == images::Likeness::Answer::different;
        if (known.bytes > 0 && (equal || (different && !visit))) {
            (equal ? out.equal : out.changed) += known.bytes / page;
            begin += known.bytes;
            meter.add(2 * known.bytes);
            continue;
        }
        uint64_t stop = known.bytes > 0 ? begin + known.bytes : end;
        auto old_bytes = a.at(before, begin);
        auto new_bytes = b.at(after, begin);
        size_t size =
            static_cast<size_t>(std::min<uint64_t>({old_bytes.size(), new_bytes.size(), stop - begin}));
        if (std::memcmp(old_bytes.data(), new_bytes.data(), size) == 0) {
            out.equal += size / page;
        } else {
            for (size_t at = 0; at < size; at += page) {
                auto old_page = old_bytes.subspan(at, page);
                auto new_page = new_bytes.subspan(at, page);
                if (std::memcmp(old_page.data(), new_page.data(), page) == 0) {
                    ++out.equal;
                    continue;
                }
                PageFate fate = all_zero(new_page)   ? PageFate::zeroed
                                : all_zero(old_page) ? PageFate::added
                                                     : PageFate::changed;
                ++(fate == PageFate::zeroed ? out.zeroed : fate == PageFate::added ? out.added : out.changed);
                tell(fate, begin + at, old_page, new_page);
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
    bool may_be_equal = other == PageState::zero;
    if (!may_be_equal && !visit) {
        (is_new ? out.added : out.gone) = (end - begin) / page;
        meter.add(end - begin);
        return out;
    }
    PageFate fate = is_new ? PageFate::added : may_be_equal ? PageFate::zeroed : PageFate::gone;
    uint64_t& count = is_new ? out.added : may_be_equal ? out.zeroed : out.gone;
    while (begin < end) {
        auto bytes = side.at(present, begin);
        bytes = bytes.first(static_cast<size_t>(std::min<uint64_t>(bytes.size(), end - begin)));
        for (size_t at = 0; at < bytes.size(); at += page) {
            auto content = bytes.subspan(at, page);
            if (may_be_equal && all_zero(content)) {
                ++out.equal;
                continue;
            }
            ++count;
            tell(fate, begin + at, is_new ? std::span<const std::byte>() : content,
                 is_new ? content : std::span<const std::byte>());
        }
        begin += bytes.size();
        meter.add(bytes.size());
    }
    return out;
}

PageChanges Comparison::pages(const Segment* before, const Segment* after, uint64_t begin, uint64_t end) {
    pair.mapping = after && after->mapping ? after->mapping : before ? before->mapping : nullptr;
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

// As the memory that was dumped tells it; 0 when none was.
uint64_t page_size_of(Moment moment) {
    uint64_t size = 0;
    images::Findings ignored;
    for (const Process& process : moment.checkpoint.processes) {
        if (has_memory(process))
            size = std::max(size, AddressSpace(moment.source, process, ignored).page_size());
    }
    return size;
}

// The first pages that the earlier mapping holds are enough to know it again; none at all prove nothing.
bool same_content(const AddressSpace& old_memory, const AddressSpace& new_memory, const Mapping& before,
                  const Mapping& after) {
    constexpr uint64_t k_pages = 16;
    uint64_t page = old_memory.page_size(), seen = 0;
    uint64_t size = std::min(before.size(), after.size());
    bool equal = new_memory.page_size() == page;
    std::vector<std::byte> old_page(page), new_page(page);
    old_memory.visit(before.start, size, [&](const AddressSpace::Part& part) {
        if (part.state != PageState::present || !equal) return;
        for (uint64_t at = 0; at < part.bytes && seen < k_pages && equal; at += page, ++seen) {
            old_memory.read(part.address + at, old_page);
            new_memory.read(after.start + (part.address + at - before.start), new_page);
            equal = old_page == new_page;
        }
    });
    return equal && seen > 0;
}

// What has moved is compared with what it has become: as if it had been there before.
void follow(std::vector<Segment>& segments, const std::vector<MovedMapping>& moved) {
    if (moved.empty()) return;
    for (Segment& segment : segments) {
        for (const MovedMapping& pair : moved) {
            if (segment.mapping == pair.before) segment.address += pair.after->start - pair.before->start;
        }
    }
    std::sort(segments.begin(), segments.end(),
              [](const Segment& x, const Segment& y) { return x.address < y.address; });
}

ProcessMemoryDiff diff_process(Moment a, Moment b, const Process* before, const Process* after, Meter& meter,
                               const PageVisitor& visit, images::Findings& findings) {
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
    if (before && after) {
        SameContent judge;
        if (old_memory && new_memory) {
            judge = [&](const Mapping& x, const Mapping& y) {
                return same_content(*old_memory, *new_memory, x, y);
            };
        }
        MappingDiff mappings = diff_mappings(*before, *after, judge);
        follow(old_segments, mappings.moved);
        out.mappings = std::move(mappings.changes);
    }
    Comparison comparison{out.page_size, meter, visit, {}, {}, {}};
    comparison.pair.pid = out.pid;
    comparison.pair.bytes = out.page_size;
    merge(old_segments, new_segments, [&](const Segment* x, const Segment* y, uint64_t begin, uint64_t end) {
        PageChanges changes = comparison.pages(x, y, begin, end);
        out.pages += changes;
        add_to_mapping(out.by_mapping, x, y, changes);
    });
    return out;
}

PageChanges diff_objects(Moment a, Moment b, std::optional<uint64_t> before, std::optional<uint64_t> after,
                         Meter& meter, const PageVisitor& visit, images::Findings& findings) {
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
    Comparison comparison{std::min(old_object.page_size(), new_object.page_size()), meter, visit, {}, {}, {}};
    comparison.pair.object = after ? after : before;
    comparison.pair.bytes = comparison.page;
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

std::string unlike(Moment a, Moment b) {
    images::Architecture first = a.checkpoint.architecture, second = b.checkpoint.architecture;
    if (first != second)
        return fmt::format("one is of {}, the other of {}", images::name_of(first), images::name_of(second));
    // There it has one size, and nobody has to look.
    if (first == images::Architecture::x86_64) return {};
    uint64_t old_size = page_size_of(a), new_size = page_size_of(b);
    if (old_size == 0 || new_size == 0 || old_size == new_size) return {};
    return fmt::format("one has pages of {} bytes, the other of {}", old_size, new_size);
}

MemoryDiff diff_memory(Moment a, Moment b, const MemoryDiffOptions& options) {
    const Progress& progress = options.progress;
    MemoryDiff diff;
    Meter meter(progress, progress ? page_bytes_of(a.source) + page_bytes_of(b.source) : 0);
    Objects objects;
    auto add = [&](const Process* before, const Process* after) {
        if (options.pid && (after ? after->pid : before->pid) != *options.pid) return;
        collect_objects(before, after, objects);
        ProcessMemoryDiff process = diff_process(a, b, before, after, meter, options.visit, diff.findings);
        diff.total += process.pages;
        diff.total_different_bytes += process.pages.different() * process.page_size;
        diff.processes.push_back(std::move(process));
    };
    for (const Process& before : a.checkpoint.processes) {
        if (find_same(b.checkpoint, before.pid, options.reused) == nullptr) add(&before, nullptr);
    }
    for (const Process& after : b.checkpoint.processes)
        add(find_same(a.checkpoint, after.pid, options.reused), &after);

    for (auto [before, after] : objects.pairs) {
        diff.shared += diff_objects(a, b, before, after, meter, options.visit, diff.findings);
        objects.only_a.erase(before);
        objects.only_b.erase(after);
    }
    for (uint64_t id : objects.only_a)
        diff.shared += diff_objects(a, b, id, {}, meter, options.visit, diff.findings);
    for (uint64_t id : objects.only_b)
        diff.shared += diff_objects(a, b, {}, id, meter, options.visit, diff.findings);
    diff.total += diff.shared;
    uint64_t page = diff.processes.empty() ? 4096 : diff.processes.front().page_size;
    diff.total_different_bytes += diff.shared.different() * page;
    return diff;
}

}  // namespace cprewind::inspect

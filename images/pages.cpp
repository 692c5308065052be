#include "images/pages.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "base/error.h"
#include "images/compressed_pages.h"
#include "images/image_reader.h"
#include "images/pagemap_entry.h"
#include "images/proto/memory.pb.h"

namespace cprewind::images {

namespace {

// PE_* of criu/include/pagemap.h.
constexpr uint32_t k_flag_parent = 1;
constexpr uint32_t k_flag_present = 4;
constexpr uint32_t k_flag_aligned = 8;  // compressed images only

constexpr uint64_t k_extended_sign = 0xffffffff80000000;
// 64 GiB of memory of which every other page was dumped; a run costs 40 bytes.
constexpr size_t k_runs_limit = 1u << 24;
constexpr int k_parents_limit = 64;
// Four blocks of a stored snapshot.
constexpr uint64_t k_window_bytes = 1u << 20;

}  // namespace

const char* name_of(PageState state) {
    switch (state) {
        case PageState::present:
            return "present";
        case PageState::zero:
            return "zero";
        case PageState::from_file:
            return "from file";
        case PageState::kernel:
            return "kernel";
        case PageState::parent:
            return "in parent";
        case PageState::lazy:
            return "lazy";
        case PageState::missing:
            return "missing";
        case PageState::unmapped:
            return "unmapped";
    }
    return "unknown";
}

// Reads one pagemap after the other, from the checkpoint up its parents, into one list of runs.
class PageMapBuilder {
 public:
    PageMapBuilder(const ImageSource& source, const ImageKind& kind, uint64_t number, Findings& findings)
        : source_(source), kind_(kind), number_(number), findings_(findings) {}

    PageMap build() {
        map_.runs_ = load("", 0);
        return std::move(map_);
    }

 private:
    std::vector<PageRun> load(const std::string& directory, int depth);
    std::vector<PagemapEntry> read_entries(ImageReader& reader, bool& compressed);
    uint64_t find_page_size(const std::vector<PagemapEntry>& entries, uint64_t pages,
                            uint64_t file_bytes) const;
    void resolve_parents(std::vector<PageRun>& runs, const std::string& directory, int depth);

    const ImageSource& source_;
    const ImageKind& kind_;
    uint64_t number_;
    Findings& findings_;
    PageMap map_;
    size_t runs_left_ = k_runs_limit;
};

std::vector<PagemapEntry> PageMapBuilder::read_entries(ImageReader& reader, bool& compressed) {
    std::vector<PagemapEntry> entries;
    uint64_t last_end_page = 0;
    criu::pagemap_entry entry;
    reader.leave_unknown_fields();
    while (reader.next(entry)) {
        if (runs_left_ == 0) {
            reader.report(FindingKind::damaged,
                          fmt::format("more than {} runs of pages; the rest is not read", k_runs_limit));
            break;
        }
        PagemapEntry run;
        run.aligned = (entry.flags() & k_flag_aligned) != 0;
        if (entry.unknown_fields().field_count() > 0 && !read_blocks(entry.unknown_fields(), run)) {
            reader.report(FindingKind::unknown,
                          "its pages are stored in a way that this version does not know; they may be wrong");
        }
        compressed = compressed || run.aligned || run.block_pages > 0;
        // A 32-bit CRIU extends the sign of what lies in the upper half; no program of 64 bits has memory there.
        uint64_t address = entry.vaddr();
        if (address >= k_extended_sign) address &= UINT32_MAX;
        // Up to CRIU 4.1 field 2; since 4.2 field 5, while field 2 is 0 because it is required.
        uint64_t pages = entry.has_nr_pages() ? entry.nr_pages() : entry.compat_nr_pages();
        uint32_t flags = entry.flags();
        if (entry.in_parent()) {
            flags |= k_flag_parent;
        } else if (!entry.has_flags()) {
            flags = k_flag_present;
        }
        // 4096 is the smallest page there is; larger ones are checked when the size is known.
        uint64_t first_page = address / 4096;
        bool fits = pages > 0 && pages <= (UINT64_MAX / 4096) - first_page;
        if (!fits || address % 4096 != 0 || first_page < last_end_page) {
            reader.report(FindingKind::damaged,
                          fmt::format("the run of {} pages at {:#x} is empty, unaligned, too long or "
                                      "overlaps the one before it",
                                      pages, address));
            // Its bytes are in the pages file all the same, unless its length is nonsense, too.
            if (pages == 0 || !fits) continue;
        }
        last_end_page = std::max(last_end_page, first_page + pages);
        PageState state = (flags & k_flag_parent) != 0    ? PageState::parent
                          : (flags & k_flag_present) != 0 ? PageState::present
                                                          : PageState::lazy;
        run.address = address;
        run.pages = pages;
        run.state = state;
        entries.push_back(std::move(run));
        --runs_left_;
    }
    return entries;
}

// The bytes of the file are those of the present pages, so one size fits exactly unless something is lost. (A pagemap
// that was cut may fit by chance, too: then its addresses are hardly ever multiples.)
uint64_t PageMapBuilder::find_page_size(const std::vector<PagemapEntry>& entries, uint64_t pages,
                                        uint64_t file_bytes) const {
    for (uint64_t size : {4096u, 16384u, 65536u}) {
        if (pages == 0 || file_bytes / pages != size || file_bytes % pages != 0) continue;
        if (std::all_of(entries.begin(), entries.end(),
                        [&](const PagemapEntry& entry) { return entry.address % size == 0; }))
            return size;
    }
    return map_.page_size_;
}

std::vector<PageRun> PageMapBuilder::load(const std::string& directory, int depth) {
    std::string name = directory + image_file_name(kind_, number_);
    auto reader = ImageReader::open(source_, name, kind_, findings_);
    if (!reader) return {};
    criu::pagemap_head head;
    if (!reader->next(head)) {
        reader->report(FindingKind::truncated, "it does not even say which pages file it is about");
        return {};
    }
    bool compressed = false;
    std::vector<PagemapEntry> entries = read_entries(*reader, compressed);
    uint64_t present_pages = 0;
    for (const PagemapEntry& entry : entries) {
        if (entry.state != PageState::present) continue;
        present_pages =
            entry.pages > UINT64_MAX / 4096 - present_pages ? UINT64_MAX / 4096 : present_pages + entry.pages;
    }

    std::string pages_name = directory + image_file_name(image_kind("PAGES"), head.pages_id());
    auto pages_file = source_.open(pages_name);
    if (depth == 0) map_.pages_name_ = pages_name;
    uint64_t file_bytes = pages_file ? pages_file->size() : 0;
    if (compressed && pages_file) {
        if (depth == 0) map_.page_size_ = find_block_page_size(entries, *pages_file);
        auto blocks = lay_out_blocks(entries, map_.page_size_, file_bytes);
        pages_file = std::make_unique<CompressedPages>(std::move(pages_file), std::move(blocks));
        file_bytes = pages_file->size();
    } else if (!pages_file && present_pages > 0) {
        add_finding(findings_, {FindingKind::absent,
                                pages_name,
                                {},
                                fmt::format("it is not there, but {} says that it holds {} pages", name,
                                            present_pages)});
    }
    if (depth == 0 && !compressed) map_.page_size_ = find_page_size(entries, present_pages, file_bytes);
    uint64_t page = map_.page_size_;
    if (pages_file && (present_pages > UINT64_MAX / page || file_bytes != present_pages * page)) {
        bool shorter = file_bytes / page < present_pages;
        add_finding(findings_, {shorter ? FindingKind::truncated : FindingKind::damaged,
                                pages_name,
                                {},
                                fmt::format("it has {} bytes, while {} says {} pages of {} bytes", file_bytes,
                                            name, present_pages, page)});
    }

    auto layer = static_cast<uint32_t>(map_.layers_.size());
    if (pages_file) map_.layers_.push_back(std::move(pages_file));
    std::vector<PageRun> runs;
    uint64_t offset = 0;
    uint64_t last_end = 0;
    size_t dropped = 0;
    for (const PagemapEntry& entry : entries) {
        bool sane = entry.pages <= UINT64_MAX / page && entry.address <= UINT64_MAX - entry.pages * page &&
                    entry.address % page == 0 && entry.address >= last_end;
        uint64_t bytes = entry.pages <= UINT64_MAX / page ? entry.pages * page : UINT64_MAX;
        PageRun run{entry.address, bytes, entry.state, layer, offset};
        uint64_t here = offset < file_bytes ? std::min(bytes, (file_bytes - offset) / page * page) : 0;
        if (entry.state == PageState::present)
            offset = bytes > UINT64_MAX - offset ? UINT64_MAX : offset + bytes;
        if (!sane) {
            // Those that are so with any size of page have been reported.
            if (page > 4096 && ++dropped == 1) {
                reader->report(FindingKind::damaged,
                               fmt::format("the run of {} pages at {:#x} cannot be of pages of {} bytes",
                                           entry.pages, entry.address, page));
            }
            continue;
        }
        last_end = run.end();
        if (entry.state == PageState::present && here < bytes) {
            if (here > 0) runs.push_back({run.address, here, PageState::present, layer, run.file_offset});
            run.address += here;
            run.bytes -= here;
            run.state = PageState::missing;
        }
        if (!runs.empty() && runs.back().state == run.state && runs.back().end() == run.address &&
            (run.state != PageState::present ||
             runs.back().file_offset + runs.back().bytes == run.file_offset)) {
            runs.back().bytes += run.bytes;
        } else {
            runs.push_back(run);
        }
    }
    resolve_parents(runs, directory, depth);
    return runs;
}

// Replaces what is "in the parent" by what the parent has, piece by piece: it may be cut up differently
// there.
void PageMapBuilder::resolve_parents(std::vector<PageRun>& runs, const std::string& directory, int depth) {
    uint64_t wanted = 0;
    for (const PageRun& run : runs) wanted += run.state == PageState::parent ? run.bytes : 0;
    if (wanted == 0) return;
    std::string parent = directory + "parent/";
    bool there = depth < k_parents_limit && source_.open(parent + image_file_name(kind_, number_)) != nullptr;
    if (!there) {
        add_finding(
            findings_,
            {FindingKind::absent,
             directory + image_file_name(kind_, number_),
             {},
             fmt::format("{} bytes of memory are in the parent checkpoint, which is not at hand", wanted)});
        return;
    }
    std::vector<PageRun> above = load(parent, depth + 1);
    std::vector<PageRun> out;
    size_t place = 0;
    uint64_t lost = 0;
    for (const PageRun& run : runs) {
        if (run.state != PageState::parent) {
            out.push_back(run);
            continue;
        }
        uint64_t address = run.address;
        while (place < above.size() && above[place].end() <= address) ++place;
        for (size_t i = place; address < run.end(); ++i) {
            uint64_t gap_end = i < above.size() ? std::min(above[i].address, run.end()) : run.end();
            if (gap_end > address) {
                out.push_back({address, gap_end - address, PageState::missing, 0, 0});
                lost += gap_end - address;
                address = gap_end;
            }
            if (i >= above.size() || address >= run.end()) break;
            uint64_t end = std::min(above[i].end(), run.end());
            if (end <= address) continue;
            PageRun piece = above[i];
            piece.file_offset += address - piece.address;
            piece.address = address;
            piece.bytes = end - address;
            out.push_back(piece);
            address = end;
        }
    }
    if (lost > 0) {
        add_finding(findings_, {FindingKind::damaged,
                                parent + image_file_name(kind_, number_),
                                {},
                                fmt::format("{} bytes of memory should be here, but are not", lost)});
    }
    runs = std::move(out);
}

PageMap PageMap::open_process(const ImageSource& source, DumpPid pid, Findings& findings) {
    return PageMapBuilder(source, image_kind("PAGEMAP"), pid.value, findings).build();
}

PageMap PageMap::open_shared(const ImageSource& source, uint64_t shmid, Findings& findings) {
    return PageMapBuilder(source, image_kind("SHMEM_PAGEMAP"), shmid, findings).build();
}

size_t PageMap::find(uint64_t address) const {
    auto found = std::partition_point(runs_.begin(), runs_.end(),
                                      [&](const PageRun& run) { return run.end() <= address; });
    return static_cast<size_t>(found - runs_.begin());
}

uint64_t PageMap::present_bytes() const {
    uint64_t bytes = 0;
    for (const PageRun& run : runs_) bytes += run.state == PageState::present ? run.bytes : 0;
    return bytes;
}

void PageMap::read_run(const PageRun& run, uint64_t address, std::span<std::byte> out) const {
    CPREWIND_CHECK(run.state == PageState::present && address >= run.address && address <= run.end());
    CPREWIND_CHECK(out.size() <= run.end() - address);
    size_t got = layers_[run.layer]->read_at(run.file_offset + (address - run.address), out);
    if (got < out.size()) {
        throw base::Error(base::ErrorKind::damaged, "a pages image became shorter while it was read");
    }
}

void PageMap::expect_run(const PageRun& run, uint64_t address, uint64_t bytes) const {
    layers_[run.layer]->expect(run.file_offset + (address - run.address), bytes);
}

Likeness PageMap::likeness(const PageRun& run, uint64_t address, const PageMap& other,
                           const PageRun& other_run, uint64_t other_address, uint64_t bytes) const {
    Likeness known = layers_[run.layer]->likeness(
        run.file_offset + (address - run.address), *other.layers_[other_run.layer],
        other_run.file_offset + (other_address - other_run.address), bytes);
    // Half a page of this map is no answer.
    known.bytes = std::min(known.bytes, bytes) / page_size_ * page_size_;
    return known;
}

std::span<const std::byte> RunStream::at(const PageRun& run, uint64_t address) {
    CPREWIND_CHECK(run.state == PageState::present && address >= run.address && address < run.end());
    Window& window = windows_[run.layer];
    uint64_t offset = run.file_offset + (address - run.address);
    uint64_t page = pages_.page_size_;
    if (offset < window.offset || offset + page > window.offset + window.bytes.size()) {
        // Of who jumps about no more is read than asked for: a stored snapshot decodes what it reads.
        bool goes_on = !window.bytes.empty() && offset == window.offset + window.bytes.size();
        uint64_t size = goes_on ? std::min<uint64_t>(2 * window.bytes.size(), k_window_bytes) : page;
        window.offset = offset;
        window.bytes.resize(static_cast<size_t>(std::max(size, page)));
        window.bytes.resize(pages_.layers_[run.layer]->read_at(window.offset, window.bytes));
        if (offset + page > window.offset + window.bytes.size()) {
            throw base::Error(base::ErrorKind::damaged, "a pages image became shorter while it was read");
        }
    }
    uint64_t in_window = offset - window.offset;
    uint64_t bytes = std::min(run.end() - address, window.bytes.size() - in_window);
    return std::span<const std::byte>(window.bytes)
        .subspan(static_cast<size_t>(in_window), static_cast<size_t>(bytes / page * page));
}

}  // namespace cprewind::images

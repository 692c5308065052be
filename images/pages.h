// The memory that a checkpoint holds.
//
// pagemap-<pid>.img (pagemap-shmem-<shmid>.img for shared memory) lists runs of pages by address; their bytes
// lie one after another in pages-<n>.img. Only runs marked PRESENT take bytes there: a run that is in the
// parent checkpoint (PARENT) or was left for later (LAZY) takes none, and what is in no run at all was not
// dumped, because it is zero or the same as in the mapped file. The page size is not recorded; it is found
// from the numbers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "images/finding.h"
#include "images/image_source.h"
#include "images/model.h"

namespace cprewind::images {

enum class PageState {
    present,    // its bytes are here
    zero,       // not dumped because nothing but zeros: anonymous memory that no run covers
    from_file,  // not dumped because the mapped file has it
    kernel,     // the kernel's own (vvar, vsyscall, guard pages): never dumped
    parent,     // in the parent checkpoint, which is not at hand
    lazy,       // left in the dumped process, never written
    missing,    // a run says that it is here, but the pages file ends before it, or is absent
    unmapped,   // nothing was mapped at that address
};
const char* name_of(PageState state);

// Consecutive pages in the same state.
struct PageRun {
    uint64_t address = 0;
    uint64_t bytes = 0;
    PageState state = PageState::present;  // present, parent, lazy or missing
    uint32_t layer = 0;        // present: which pages file, 0 is the checkpoint's own, above are parents
    uint64_t file_offset = 0;  // present: where in it

    uint64_t end() const { return address + bytes; }
};

// One pagemap with its pages, parents resolved as far as they can be opened. Movable; not for two threads at
// once.
class PageMap {
 public:
    // An absent pagemap gives an empty map and a finding.
    static PageMap open_process(const ImageSource& source, DumpPid pid, Findings& findings);
    static PageMap open_shared(const ImageSource& source, uint64_t shmid, Findings& findings);

    PageMap() = default;

    uint64_t page_size() const { return page_size_; }
    // Of the file with the bytes of layer 0; "" when there is no pagemap.
    const std::string& pages_name() const { return pages_name_; }
    // Sorted by address, not overlapping.
    const std::vector<PageRun>& runs() const { return runs_; }
    // The first run that ends above `address` (it may begin above it, too), as an index into runs().
    size_t find(uint64_t address) const;
    // Bytes of runs that are present.
    uint64_t present_bytes() const;
    size_t file_count() const { return layers_.size(); }

    // Reads bytes of a present run, `address` up to `address + out.size()` within it. Throws base::Error when
    // the file has become shorter since it was opened.
    void read_run(const PageRun& run, uint64_t address, std::span<std::byte> out) const;

    // Says that this will be read: see ImageFile::expect.
    void expect_run(const PageRun& run, uint64_t address, uint64_t bytes) const;

    // What is known of `bytes` of a present run from `address` on, beside those of another map's, without reading.
    Likeness likeness(const PageRun& run, uint64_t address, const PageMap& other, const PageRun& other_run,
                      uint64_t other_address, uint64_t bytes) const;

 private:
    friend class PageMapBuilder;
    friend class RunStream;
    uint64_t page_size_ = 4096;
    std::string pages_name_;
    std::vector<PageRun> runs_;
    std::vector<std::unique_ptr<ImageFile>> layers_;
};

// Reads runs in ascending order fast: from the pages file in large aligned pieces, however short the runs
// are. `pages` must outlive it.
class RunStream {
 public:
    explicit RunStream(const PageMap& pages) : pages_(pages), windows_(pages.layers_.size()) {}

    // Content of a present run from `address` on: at least one page, at most to the end of the run, valid
    // until the next call.
    std::span<const std::byte> at(const PageRun& run, uint64_t address);

 private:
    struct Window {
        uint64_t offset = 0;
        std::vector<std::byte> bytes;
    };
    const PageMap& pages_;
    std::vector<Window> windows_;  // one for each layer: their offsets rise independently
};

// A part of an answer: `bytes` from `address` are in `state`; only `present` ones have content, the rest
// reads as zeros.
struct PageSpan {
    uint64_t address = 0;
    uint64_t bytes = 0;
    PageState state = PageState::unmapped;
};

// The address space of a process: its mappings, its own pages and the shared memory it maps.
class AddressSpace {
 public:
    // `process` must outlive it.
    AddressSpace(const ImageSource& source, const Process& process, Findings& findings);

    uint64_t page_size() const { return own_.page_size(); }
    const PageMap& own_pages() const { return own_; }
    // Pages files and runs that it keeps open.
    size_t file_count() const;
    size_t run_count() const;

    // Says that this range will be read: see ImageFile::expect.
    void expect(AddressRange range) const;

    // Fills `out` with the memory at `address` and says of every part in which state it is. Anything may be
    // asked for; addresses past the end of the address space are unmapped.
    std::vector<PageSpan> read(uint64_t address, std::span<std::byte> out) const;

    // Calls `visit` for each part of the range in order; `pages` and `run` are set when it is present.
    struct Part {
        uint64_t address = 0;
        uint64_t bytes = 0;
        PageState state = PageState::unmapped;
        const PageMap* pages = nullptr;
        const PageRun* run = nullptr;
        uint64_t run_address = 0;  // of the part's first byte within the run's own addresses
    };
    void visit(uint64_t address, uint64_t bytes, const std::function<void(const Part&)>& visit) const;

 private:
    void visit_mapping(const Mapping& mapping, uint64_t begin, uint64_t end,
                       const std::function<void(const Part&)>& visit) const;

    const Process& process_;
    PageMap own_;
    std::map<uint64_t, PageMap> objects_;  // shared memory by shmid
};

// All bytes of [range.start, range.end) that are present from the start on, at most `limit`: for argument and
// environment areas. `complete` tells whether that was all of it.
std::string read_range(const AddressSpace& memory, AddressRange range, uint64_t limit, bool& complete);

}  // namespace cprewind::images

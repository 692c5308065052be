// One file on its way into a pack: its pages told apart and encoded, by all cores.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <vector>

#include "images/image_source.h"
#include "store/hint_table.h"
#include "store/page_pack.h"
#include "store/repository.h"

namespace cprewind::store {

// The buffers of one worker and the groups it decoded last, which the next file is likely to want, too.
struct PageWorker;

// What a job needs to know of the pack it writes to.
struct JobContext {
    std::vector<std::shared_ptr<PageWorker>>&
        workers;                           // as many as there ever were; the same for all files of a pack
    const PackSet& known;                  // numbers as in the answer's references
    const std::vector<bool>& retired;      // by number: packs that nothing new may refer to
    const HintTable<PageRef>& hints;       // whole pages of `known`
    const HintTable<uint32_t>& own_hints;  // whole pages of this pack
    const PageIndex& own;                  // what this pack has so far
    int fd;
    std::string path;
    std::atomic<uint64_t>& end;  // of the pack's bytes
};

// A group that was encoded and written. Bases are references into `known`.
struct NewGroup {
    BlockEntry block;
    uint32_t pages = 0;
    std::vector<PageRef> bases;
    std::vector<uint64_t> hints;  // whole pages only, one each
};

// Where a page of the file is to be found.
struct PagePlace {
    enum class Kind : uint8_t { zero, known, own, fresh, same };
    Kind kind = Kind::zero;
    uint32_t first = 0;  // known: pack. fresh: group of the piece. same: page of this file, itself not `same`
    uint32_t second = 0;  // known, own: slot. fresh: page of the group
};

inline constexpr uint64_t k_piece_pages = 512;

struct JobResult {
    std::vector<PagePlace> pages;
    std::vector<std::vector<NewGroup>> pieces;  // of k_piece_pages each, in order
};

// For each page of a file the one of `known` it is likely to equal or resemble, or a zero page where there is none.
struct Prediction {
    std::vector<PageRef> pages;
    std::vector<bool> certain;  // the page is that one, even a zero page: not read. Empty: none is
    bool is_certain(size_t page) const { return !certain.empty() && certain[page]; }
    bool is_unknown(size_t page) const { return pages[page].is_zero() && !is_certain(page); }
};

// Errors: io when the file or the pack fails, damaged when a page of `known` does.
JobResult store_pages(const JobContext& context, const images::ImageFile& file, const Prediction& predicted,
                      const std::string& name, const Progress& progress);

}  // namespace cprewind::store

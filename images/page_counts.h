// How many pages the pagemaps of a checkpoint list, without looking at the pages. A pagemap does not say how many runs it
// has; one that ends between two runs is told by the sizes of the pages files, and by CRIU's own counts where the runs
// that were lost have no bytes in them (pages of a parent, or left for later).
#pragma once

#include <cstdint>
#include <map>

#include "images/finding.h"
#include "images/image_source.h"
#include "images/model.h"

namespace cprewind::images {

struct PageTotals {
    uint64_t present = 0;  // in the pages file
    uint64_t parent = 0;
    uint64_t lazy = 0;  // the process may have them still, the images do not
    uint64_t sum() const;
};

struct PagemapTotals {
    PageTotals processes, shared;
    std::map<uint64_t, uint64_t> present;  // by number of the pages file
};

// Of what cannot be read, as much as can; its findings are for those who read memory.
PagemapTotals count_pages(const ImageSource& source);

// Findings where CRIU's statistics count more than there is, and for pages files that no pagemap is about.
void check_page_counts(const ImageSource& source, const std::optional<DumpStatistics>& statistics,
                       Findings& findings);

}  // namespace cprewind::images

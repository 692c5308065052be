#include "images/page_counts.h"

#include <fmt/format.h>

#include <algorithm>

#include "images/image_kinds.h"
#include "images/image_reader.h"
#include "images/proto/memory.pb.h"

namespace cprewind::images {

namespace {

uint64_t add(uint64_t a, uint64_t b) {
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

void count_pagemap(ImageReader& reader, PagemapTotals& out, PageTotals& totals) {
    constexpr uint32_t k_parent = 1, k_present = 4;  // PE_* of criu/include/pagemap.h
    criu::pagemap_head head;
    if (!reader.next(head)) return;
    uint64_t& in_file = out.present[head.pages_id()];
    criu::pagemap_entry entry;
    while (reader.next(entry)) {
        uint64_t run = entry.has_nr_pages() ? entry.nr_pages() : entry.compat_nr_pages();
        bool in_parent = entry.in_parent() || (entry.flags() & k_parent) != 0;
        bool present = !in_parent && (!entry.has_flags() || (entry.flags() & k_present) != 0);
        uint64_t& count = in_parent ? totals.parent : present ? totals.present : totals.lazy;
        count = add(count, run);
        if (present) in_file = add(in_file, run);
    }
}

}  // namespace

uint64_t PageTotals::sum() const {
    return add(present, add(parent, lazy));
}

PagemapTotals count_pages(const ImageSource& source) {
    PagemapTotals out;
    Findings ignored;
    for (const std::string& name : source.list()) {
        auto found = find_image_kind(name);
        if (!found || found->kind->payload != Payload::pagemap) continue;
        auto reader = ImageReader::open(source, name, *found->kind, ignored);
        bool shared = std::string_view(found->kind->name) == "SHMEM_PAGEMAP";
        if (reader) count_pagemap(*reader, out, shared ? out.shared : out.processes);
    }
    return out;
}

void check_page_counts(const ImageSource& source, const std::optional<DumpStatistics>& statistics,
                       Findings& findings) {
    PagemapTotals totals = count_pages(source);
    for (const std::string& name : source.list()) {
        auto found = find_image_kind(name);
        if (found && std::string_view(found->kind->name) == "PAGES" &&
            !totals.present.contains(found->number))
            add_finding(findings, {FindingKind::damaged, name, {}, "no pagemap is about these pages"});
    }
    if (!statistics) return;
    auto compare = [&](const char* images, const PageTotals& found, uint64_t written, uint64_t parent,
                       uint64_t lazy) {
        PageTotals expected{written, parent, lazy};
        if (found.sum() >= expected.sum()) return;
        add_finding(
            findings,
            {FindingKind::truncated,
             images,
             {},
             fmt::format("they list {} pages ({} in a parent), while CRIU counted {} ({}): runs were cut off",
                         found.sum(), found.parent, expected.sum(), expected.parent)});
    };
    compare("pagemap-*.img", totals.processes, statistics->pages_written, statistics->pages_skipped_parent,
            statistics->pages_lazy);
    compare("pagemap-shmem-*.img", totals.shared, statistics->shared_pages_written,
            statistics->shared_pages_skipped_parent, 0);
}

}  // namespace cprewind::images

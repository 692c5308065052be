#include "engine/layer_before.h"

#include <algorithm>
#include <cstring>
#include <unordered_map>

#include "base/error.h"
#include "engine/snapshot_files.h"

namespace cprewind::engine {
namespace {

using images::LayerEntry;
using images::LayerExtent;

constexpr uint64_t k_page = 4096;

bool is_aligned(const images::LayerTree& tree) {
    auto aligned = [](const LayerExtent& extent) { return extent.data_offset % k_page == 0; };
    return std::all_of(tree.entries.begin(), tree.entries.end(), [&](const LayerEntry& entry) {
        return std::all_of(entry.extents.begin(), entry.extents.end(), aligned);
    });
}

// Both lists are sorted by file_offset.
void append_overlaps(const std::vector<LayerExtent>& mine, const std::vector<LayerExtent>& theirs,
                     std::vector<store::PageAddresses::Before>& runs) {
    for (size_t i = 0, j = 0; i < mine.size() && j < theirs.size();) {
        const LayerExtent &a = mine[i], &b = theirs[j];
        uint64_t begin = std::max(a.file_offset, b.file_offset);
        uint64_t end = std::min(a.file_offset + a.length, b.file_offset + b.length);
        if (begin < end) {
            runs.push_back({a.data_offset + (begin - a.file_offset), end - begin,
                            b.data_offset + (begin - b.file_offset), false});
        }
        (a.file_offset + a.length < b.file_offset + b.length ? i : j) += 1;
    }
}

}  // namespace

std::shared_ptr<const LayerBefore> load_layer_before(const store::Repository& repository,
                                                     const std::string& container_id) {
    try {
        auto head = repository.head(container_id);
        if (!head) return nullptr;
        auto files = repository.open(repository.resolve(*head, base::WallTime{}));
        auto before = std::make_shared<LayerBefore>();
        before->snapshot = *head;
        before->data = files->open(k_layer_data);
        auto bytes = images::read_whole(*files, k_layer_tree);
        if (!before->data || !bytes) return nullptr;
        images::Findings findings;
        before->tree = images::parse_layer(*bytes, before->data->size(), findings);
        return findings.empty() ? before : nullptr;
    } catch (const base::Error&) {
        return nullptr;
    }
}

size_t LayerDataFile::read_at(uint64_t offset, std::span<std::byte> out) const {
    if (offset >= size_) return 0;
    out = out.first(static_cast<size_t>(std::min<uint64_t>(out.size(), size_ - offset)));
    size_t own = base::pread_full(own_, out, offset, "the copy of the layer");
    std::memset(out.data() + own, 0, out.size() - own);
    auto range = std::upper_bound(
        borrowed_.begin(), borrowed_.end(), offset,
        [](uint64_t value, const BorrowedRange& one) { return value < one.offset + one.length; });
    for (; range != borrowed_.end() && range->offset < offset + out.size(); ++range) {
        uint64_t begin = std::max(offset, range->offset);
        uint64_t end = std::min(offset + out.size(), range->offset + range->length);
        auto part = out.subspan(static_cast<size_t>(begin - offset), static_cast<size_t>(end - begin));
        if (before_->data->read_at(range->there + (begin - range->offset), part) != part.size()) {
            throw base::Error(base::ErrorKind::damaged, "the parent's layer.data is shorter than it was");
        }
    }
    return out.size();
}

store::PageAddresses layer_addresses(const images::LayerTree& tree,
                                     const std::vector<BorrowedRange>& borrowed, const LayerBefore& before) {
    store::PageAddresses addresses;
    // The last page of a range is the parent's as a whole only where nothing else of the parent's shares it.
    bool same = is_aligned(before.tree);
    for (const BorrowedRange& range : borrowed)
        addresses.before.push_back({range.offset, range.length, range.there, same});
    std::unordered_map<std::string_view, const LayerEntry*> by_path;
    std::unordered_map<uint64_t, const LayerEntry*> by_inode;
    for (const LayerEntry& entry : before.tree.entries) {
        if (entry.extents.empty()) continue;
        by_path.emplace(entry.path, &entry);
        if (entry.inode != 0) by_inode.emplace(entry.inode, &entry);
    }
    auto is_borrowed = [&](const LayerExtent& extent) {
        auto at =
            std::lower_bound(borrowed.begin(), borrowed.end(), extent.data_offset,
                             [](const BorrowedRange& one, uint64_t value) { return one.offset < value; });
        return at != borrowed.end() && at->offset == extent.data_offset;
    };
    for (const LayerEntry& entry : tree.entries) {
        if (entry.extents.empty() || is_borrowed(entry.extents.front())) continue;
        auto inode = by_inode.find(entry.inode);
        auto path = by_path.find(entry.path);
        const LayerEntry* there = inode != by_inode.end() ? inode->second
                                  : path != by_path.end() ? path->second
                                                          : nullptr;
        if (there != nullptr) append_overlaps(entry.extents, there->extents, addresses.before);
    }
    return addresses;
}

}  // namespace cprewind::engine

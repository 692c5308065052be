// Copying the writable layer out of a container, most of it while the container runs.
//
// What the second pass may skip. A file whose inode, size, mtime and ctime are as they were is unchanged,
// with two exceptions, and a snapshot that is wrong in one of them is worse than a slow one:
//
//   The kernel stamps times from a clock that advances once a tick (1 to 10 ms). A file that was changed just
//   before we read it can be changed again just after with the same stamp. So an entry counts as settled only
//   if its ctime was older than the pass that read it by a margin of several ticks.
//
//   A store through a shared mapping stamps the file only when it faults, that is once per page until
//   writeback makes the page read-only again. A page that was already dirty when we read the file changes
//   later without a trace. So before a file is read, its dirty pages are handed to writeback
//   (sync_file_range: nothing is waited for but writeback already under way), and from then on a store faults
//   and stamps. tmpfs has no writeback; there nothing is ever settled. That is done in the first pass only,
//   since its price must not fall into the freeze; what a later pass copies is therefore copied again by any
//   pass after it.
//
// The same evidence tells what has not changed since the parent snapshot, whose entries are unsettled when they are no
// proof. restore_layer trusts it, too, so finish() takes inode and ctime from entries that never
// settled.
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <unordered_map>

#include "base/error.h"
#include "engine/layer_before.h"
#include "engine/layer_data.h"
#include "engine/layer_io.h"
#include "engine/layer_walk.h"

namespace cprewind::engine {
using base::Fd;
using images::FileType;
using images::LayerEntry;
using images::LayerExtent;

namespace {

// Ten ticks of the slowest kernel (HZ=100).
constexpr int64_t k_timestamp_margin_ns = 100'000'000;

int64_t now_ns() {
    timespec now{};
    ::clock_gettime(CLOCK_REALTIME, &now);
    return nanoseconds(now);
}

// Nothing on tmpfs can be trusted to be unchanged, see above.
bool has_writeback(int fd) {
    struct statfs fs {};
    if (::fstatfs(fd, &fs) != 0) base::throw_errno(errno, "stat the file system of the layer");
    return fs.f_type != TMPFS_MAGIC && fs.f_type != RAMFS_MAGIC;
}

bool is_unchanged(const LayerEntry& entry, const struct stat& st) {
    return entry.inode == st.st_ino && entry.ctime_ns == nanoseconds(st.st_ctim) &&
           entry.mtime_ns == nanoseconds(st.st_mtim) &&
           (!S_ISREG(st.st_mode) || entry.size == static_cast<uint64_t>(st.st_size));
}

using Inode = std::pair<dev_t, ino_t>;
struct InodeHash {
    size_t operator()(const Inode& inode) const {
        return std::hash<uint64_t>()(inode.second * 31 + inode.first);
    }
};

struct Item {
    LayerEntry entry;
    std::optional<Inode> linked;  // when the inode has other names as well
};

// What the names of one inode share.
struct LinkGroup {
    std::vector<LayerExtent> extents;
    bool copied = false;  // in this pass
    std::optional<size_t> leader;
};

using LinkGroups = std::unordered_map<Inode, LinkGroup, InodeHash>;

// Gives every group of names for one inode its shape: the first in order holds all, the others point to it.
std::vector<LayerEntry> sort_and_link(std::vector<Item> items, LinkGroups& groups) {
    std::sort(items.begin(), items.end(), [](auto& a, auto& b) { return a.entry.path < b.entry.path; });
    std::vector<LayerEntry> entries;
    entries.reserve(items.size());
    for (Item& item : items) {
        LayerEntry& entry = item.entry;
        entry.hard_link_to.clear();
        if (item.linked) {
            LinkGroup& group = groups[*item.linked];
            if (!group.leader) {
                group.leader = entries.size();
                entry.extents = group.extents;
            } else {
                const LayerEntry& leader = entries[*group.leader];
                std::string path = std::move(entry.path);
                entry = leader;
                entry.path = std::move(path);
                entry.hard_link_to = leader.path;
                entry.extents.clear();
            }
        }
        entries.push_back(std::move(entry));
    }
    return entries;
}

// Until finish(), data offsets from here on are offsets into the data of the snapshot before.
constexpr uint64_t k_borrowed = uint64_t{1} << 62;

bool is_borrowed(const LayerExtent& extent) {
    return extent.data_offset >= k_borrowed;
}

// Whether the data file holds what the entries use and no more; each extent begins on a page.
bool is_exact(const images::LayerTree& tree, uint64_t data_size) {
    uint64_t used = 0;
    for (const LayerEntry& entry : tree.entries) {
        for (const LayerExtent& extent : entry.extents)
            used += is_borrowed(extent) ? 0 : page_end(extent.length);
    }
    return used == page_end(data_size);
}

}  // namespace

LayerCapture::LayerCapture(std::filesystem::path layer, std::filesystem::path data_path,
                           std::shared_ptr<const LayerBefore> before)
    : layer_(std::move(layer)),
      data_path_(std::move(data_path)),
      data_(base::open_file(data_path_, O_RDWR | O_CREAT | O_EXCL, 0600)),
      before_(std::move(before)) {
    if (!before_) return;
    for (const LayerEntry& entry : before_->tree.entries) {
        if (entry.type != FileType::regular || entry.inode == 0 || entry.ctime_ns == 0 || !entry.digest)
            continue;
        LayerEntry borrowed = entry;
        for (LayerExtent& extent : borrowed.extents) extent.data_offset += k_borrowed;
        borrowable_.emplace(entry.path, std::move(borrowed));
    }
}

LayerCapture::~LayerCapture() = default;

uint64_t LayerCapture::pass() {
    Fd layer = open_layer(layer_);
    bool first = !settled_before_ns_;
    if (first) settled_before_ns_ = has_writeback(layer.get()) ? now_ns() - k_timestamp_margin_ns : INT64_MIN;
    LayerDataWriter writer(data_.get(), data_size_);

    std::unordered_map<std::string_view, LayerEntry*> earlier;
    earlier.reserve(tree_.entries.size());
    for (LayerEntry& entry : tree_.entries) earlier.emplace(entry.path, &entry);
    std::vector<Item> items;
    items.reserve(tree_.entries.size());
    LinkGroups groups;

    walk_layer(layer.get(), [&](const Met& met) {
        bool may_link = !S_ISDIR(met.st.st_mode) && met.st.st_nlink > 1;
        std::optional<Inode> linked =
            may_link ? std::optional<Inode>({met.st.st_dev, met.st.st_ino}) : std::nullopt;
        auto read_earlier = earlier.find(met.path);
        auto lent = borrowable_.find(met.path);
        const LayerEntry* old = read_earlier != earlier.end() ? read_earlier->second
                                : lent != borrowable_.end()   ? &lent->second
                                                              : nullptr;
        if (old != nullptr && is_settled(*old) && is_unchanged(*old, met.st)) {
            // Copied rather than moved: `earlier` looks at the old paths.
            items.push_back({*old, linked});
            if (linked && !groups[*linked].copied && old->hard_link_to.empty()) {
                groups[*linked].extents = old->extents;
            }
            return;
        }
        auto held = hold(met);
        if (!held) return;
        if (held->entry.type == FileType::regular) {
            LinkGroup* group = linked ? &groups[*linked] : nullptr;
            if (group == nullptr || !group->copied) {
                Fd file = open_held(*held);
                if (first) {
                    // A file system that cannot is one where nothing would be gained either.
                    ::sync_file_range(file.get(), 0, 0, SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE);
                    refresh(*held);
                }
                held->entry.extents = writer.append(file.get(), held->entry.size, met.path);
                if (group != nullptr) *group = {held->entry.extents, true, std::nullopt};
            }
        }
        items.push_back({std::move(held->entry), linked});
    });

    tree_.entries = sort_and_link(std::move(items), groups);
    return writer.copied();
}

bool LayerCapture::is_settled(const LayerEntry& entry) const {
    return entry.ctime_ns < settled_before_ns_.value_or(0);
}

void LayerCapture::drop_garbage() {
    std::filesystem::path fresh_path = data_path_.string() + ".new";
    Fd fresh = base::open_file(fresh_path, O_RDWR | O_CREAT | O_EXCL, 0600);
    uint64_t fresh_size = 0;
    LayerDataWriter writer(fresh.get(), fresh_size);
    for (LayerEntry& entry : tree_.entries) {
        for (LayerExtent& extent : entry.extents) {
            if (is_borrowed(extent)) continue;
            fresh_size = page_end(fresh_size);
            uint64_t at = fresh_size;
            CPREWIND_CHECK(writer.append_range(data_.get(), extent.data_offset, extent.length, entry.path) ==
                           extent.length);
            extent.data_offset = at;
        }
    }
    std::filesystem::rename(fresh_path, data_path_);
    data_ = std::move(fresh);
    data_size_ = fresh_size;
}

// After what we have ourselves.
void LayerCapture::place_borrowed() {
    for (LayerEntry& entry : tree_.entries) {
        for (LayerExtent& extent : entry.extents) {
            if (!is_borrowed(extent)) continue;
            uint64_t at = page_end(data_size_);
            borrowed_.push_back({at, extent.length, extent.data_offset - k_borrowed});
            extent.data_offset = at;
            data_size_ = at + extent.length;
        }
    }
}

void LayerCapture::finish() {
    if (!is_exact(tree_, data_size_)) drop_garbage();
    std::unordered_map<std::string_view, const LayerEntry*> leaders;
    for (LayerEntry& entry : tree_.entries) {
        bool settled = is_settled(entry);
        if (entry.type == FileType::regular && entry.hard_link_to.empty()) {
            // What is borrowed has its digest from the parent.
            if (!entry.digest) entry.digest = digest_of_entry(entry, data_.get());
            leaders.emplace(entry.path, &entry);
        } else if (entry.type == FileType::regular) {
            entry.digest = leaders.at(entry.hard_link_to)->digest;
        }
        if (!settled) entry.inode = 0, entry.ctime_ns = 0;
    }
    place_borrowed();
}

std::unique_ptr<images::ImageFile> LayerCapture::data() const {
    return std::make_unique<LayerDataFile>(data_.get(), data_size_, borrowed_, before_);
}

store::PageAddresses LayerCapture::data_addresses(const std::optional<store::SnapshotId>& parent) const {
    if (!before_ || before_->snapshot != parent) return {};
    return layer_addresses(tree_, borrowed_, *before_);
}

}  // namespace cprewind::engine

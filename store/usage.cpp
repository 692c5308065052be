#include "store/usage.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include "base/error.h"
#include "base/fd.h"
#include "store/pack_cache.h"
#include "store/pack_format.h"
#include "store/snapshot_source.h"
#include "store/testing.h"

namespace cprewind::store {
namespace {

namespace fs = std::filesystem;

uint64_t allocated(const fs::path& path) {
    constexpr uint64_t k_unit = 512;  // of st_blocks, whatever the file system's own
    struct stat st {};
    return ::stat(path.c_str(), &st) == 0 ? static_cast<uint64_t>(st.st_blocks) * k_unit : 0;
}

// The groups of a kept pack that nobody needs become holes. The pack's index stays as it is: that a group is gone shows
// in that no snapshot needs it. A reader of the removed snapshot holds the pack's lock and is not disturbed.
void punch(const fs::path& path, const std::vector<PageGroup>& groups, const std::set<uint32_t>& needed) {
    base::Fd fd = base::open_file(path, O_RDWR);
    if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) return;
    for (uint32_t i = 0; i < groups.size(); ++i) {
        if (needed.contains(i)) continue;
        // A file system that cannot do it keeps the space until the pack goes.
        if (::fallocate(fd.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                        static_cast<off_t>(groups[i].block.offset),
                        static_cast<off_t>(groups[i].block.stored)) != 0) {
            return;
        }
    }
}

void unlink_if_there(const fs::path& path) {
    if (::unlink(path.c_str()) != 0 && errno != ENOENT)
        base::throw_errno(errno, fmt::format("remove {}", path.string()));
}

std::set<SnapshotId> kept_packs(const Layout& layout) {
    std::set<SnapshotId> ids;
    for (const auto& entry : fs::directory_iterator(layout.packs())) {
        std::string id = entry.path().stem().string();
        if (entry.path().extension() == k_kept_suffix && is_snapshot_id(id)) ids.insert(id);
    }
    return ids;
}

}  // namespace

GroupUse groups_of(const PackSet& packs) {
    std::vector<std::set<uint32_t>> used(packs.count() + 1);
    auto use = [&](PageRef page) { used[page.pack].insert(packs.at(page.pack).group_of(page.slot)); };
    for (const PagedFile& file : packs.own().index().files) {
        for (const PageRun& run : file.runs) {
            if (run.first.is_zero()) continue;
            const PagePack& pack = packs.at(run.first.pack);
            uint64_t end = run.first.slot + run.pages;
            for (uint64_t slot = run.first.slot; slot < end;) {
                uint32_t number = pack.group_of(static_cast<uint32_t>(slot));
                const PageGroup& group = pack.index().groups[number];
                used[run.first.pack].insert(number);
                uint64_t group_end = std::min<uint64_t>(end, group.first_slot + group.pages);
                if (group.is_delta()) {
                    for (uint64_t i = slot; i < group_end; ++i) {
                        use(packs.translate(run.first.pack, group.bases[i - group.first_slot]));
                    }
                }
                slot = group_end;
            }
        }
    }
    GroupUse use_by_id;
    for (uint32_t number = 1; number <= packs.count(); ++number) {
        if (!used[number].empty()) use_by_id[packs.at(number).id()] = std::move(used[number]);
    }
    return use_by_id;
}

base::Fd hold_packs(const Layout& layout) {
    base::Fd fd = base::open_file(layout.packs(), O_RDONLY | O_DIRECTORY);
    while (::flock(fd.get(), LOCK_SH) != 0) {
        int e = errno;
        if (e != EINTR) base::throw_errno(e, fmt::format("lock {}", layout.packs().string()));
    }
    return fd;
}

namespace {

// What the living draw from the packs in `going`; nothing when one of the living cannot be read.
std::optional<GroupUse> needed_of(const Layout& layout, const std::vector<SnapshotRecord>& living,
                                  const std::set<SnapshotId>& going) {
    GroupUse needed;
    PackCache cache(layout);
    try {
        for (const SnapshotRecord& record : living) {
            if (pack_version(layout, record.id, record.name()) != k_paged_version) continue;
            auto packs = cache.open_set(record.id, record.name());
            const auto& others = packs->own().index().packs;
            auto goes = [&](const SnapshotId& other) { return going.contains(other); };
            if (std::none_of(others.begin(), others.end(), goes)) continue;
            for (auto& [other, groups] : groups_of(*packs)) {
                needed[other].insert(groups.begin(), groups.end());
            }
        }
    } catch (const base::Error&) {
        return std::nullopt;
    }
    return needed;
}

void release(const Layout& layout, const SnapshotId& id, const std::set<uint32_t>* groups) {
    fs::path pack = layout.pack(id), kept = layout.kept_pack(id);
    if (groups == nullptr) {
        unlink_if_there(pack);
        unlink_if_there(kept);
        testing::reached("unlinked");
        return;
    }
    if (::rename(pack.c_str(), kept.c_str()) != 0 && errno != ENOENT) {
        base::throw_errno(errno, fmt::format("rename {} to {}", pack.string(), kept.string()));
    }
    testing::reached("kept");
    // A copy: the open pack itself holds the lock that punch() has to get.
    std::vector<PageGroup> all = PagePack(kept, id, id).index().groups;
    punch(kept, all, *groups);
    testing::reached("punched");
}

}  // namespace

std::optional<uint64_t> sweep(const Layout& layout, const Catalog& catalog) {
    base::Fd packs = base::open_file(layout.packs(), O_RDONLY | O_DIRECTORY);
    if (::flock(packs.get(), LOCK_EX | LOCK_NB) != 0) return std::nullopt;
    std::set<SnapshotId> going = kept_packs(layout);
    std::vector<SnapshotRecord> living = catalog.list();
    // Stored once more, as an import of what was removed is: then its pack has all that the kept one ever had.
    std::vector<SnapshotId> back;
    for (const SnapshotRecord& record : living) {
        if (going.erase(record.id) > 0) back.push_back(record.id);
    }
    std::vector<SnapshotId> removed;
    for (const Pending& pending : catalog.pending()) {
        if (pending.state == PendingState::removing) removed.push_back(pending.id);
    }
    going.insert(removed.begin(), removed.end());
    if (going.empty() && back.empty()) return 0;
    auto needed = needed_of(layout, living, going);
    // Unsure: nothing may go, and the rows stay, so that it is tried again.
    if (!needed) return 0;
    uint64_t given_back = 0;
    for (const SnapshotId& id : back) {
        given_back += allocated(layout.kept_pack(id));
        unlink_if_there(layout.kept_pack(id));
        testing::reached("came back");
    }
    for (const SnapshotId& id : going) {
        auto space = [&] { return allocated(layout.pack(id)) + allocated(layout.kept_pack(id)); };
        uint64_t before = space();
        auto groups = needed->find(id);
        release(layout, id, groups == needed->end() ? nullptr : &groups->second);
        given_back += before - std::min(before, space());
    }
    // The files must be gone for good before the rows that explain them are.
    base::sync_directory(layout.packs());
    for (const SnapshotId& id : removed) catalog.drop_pending(id);
    testing::reached("removed");
    return given_back;
}

}  // namespace cprewind::store

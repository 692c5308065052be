#include "images/system.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/file.h>

#include <algorithm>

#include "images/image_kinds.h"
#include "images/image_reader.h"
#include "images/proto/content.pb.h"
#include "images/proto/namespaces.pb.h"
#include "images/proto/system.pb.h"

namespace cprewind::images {

namespace {

// Deeper trees of control groups than this exist only to exhaust us.
constexpr int k_deepest_group = 64;

// FL_* of the kernel's include/linux/fs.h, as CRIU stores them.
constexpr uint32_t k_posix = 1, k_flock = 2, k_ofd = 4, k_lease = 8;

void collect_properties(const criu::cgroup_dir_entry& directory, const std::string& controllers,
                        const std::string& above, int depth, std::vector<CgroupProperty>& out) {
    std::string path = above;
    if (!directory.dir_name().empty()) {
        path += directory.dir_name().starts_with('/') || above.empty() ? "" : "/";
        path += directory.dir_name();
    }
    for (const auto& property : directory.properties())
        out.push_back({controllers, path.empty() ? "/" : path, property.name(), property.value()});
    if (depth >= k_deepest_group) return;
    for (const auto& child : directory.children())
        collect_properties(child, controllers, path, depth + 1, out);
}

LockKind lock_kind(uint32_t flag) {
    switch (flag) {
        case k_posix:
            return LockKind::posix;
        case k_flock:
            return LockKind::flock;
        case k_ofd:
            return LockKind::ofd;
        case k_lease:
            return LockKind::lease;
        default:
            return LockKind::unknown;
    }
}

// F_RDLCK and so on of fcntl(2), which CRIU uses for flock(2) as well; LOCK_MAND with its own bits.
std::string lock_type(uint32_t type) {
    if ((type & LOCK_MAND) != 0) {
        return (type & LOCK_RW) == LOCK_RW ? "mandatory"
               : (type & LOCK_READ) != 0   ? "mandatory read"
               : (type & LOCK_WRITE) != 0  ? "mandatory write"
                                           : "mandatory none";
    }
    switch (type) {
        case F_RDLCK:
            return "read";
        case F_WRLCK:
            return "write";
        case F_UNLCK:
            return "unlock";
        default:
            return fmt::format("type {}", type);
    }
}

int64_t offset_of(const criu::timespec& time) {
    return static_cast<int64_t>(time.tv_sec() * 1'000'000'000ull + time.tv_nsec());
}

template <typename Extents>
std::vector<IdRange> ranges_of(const Extents& extents) {
    std::vector<IdRange> out;
    for (const auto& extent : extents) out.push_back({extent.first(), extent.lower_first(), extent.count()});
    return out;
}

}  // namespace

std::vector<uint64_t> numbers_of(const ImageSource& source, std::string_view kind) {
    std::vector<uint64_t> numbers;
    for (const std::string& name : source.list()) {
        auto found = find_image_kind(name);
        if (found && kind == found->kind->name) numbers.push_back(found->number);
    }
    std::sort(numbers.begin(), numbers.end());
    return numbers;
}

std::vector<SeccompFilter> load_seccomp(const ImageSource& source, Findings& findings) {
    std::vector<SeccompFilter> out;
    const ImageKind& kind = image_kind("SECCOMP");
    criu::seccomp_entry entry;
    if (!source.open("seccomp.img") || !read_single(source, "seccomp.img", kind, entry, findings)) return out;
    for (const auto& filter : entry.seccomp_filters()) {
        SeccompFilter made{filter.filter(), {}, filter.flags()};
        if (filter.has_prev()) {
            if (filter.prev() < out.size()) {
                made.previous = filter.prev();
            } else {
                add_finding(findings, {FindingKind::damaged,
                                       "seccomp.img",
                                       {},
                                       fmt::format("filter {} says that it was put on filter {}, which does "
                                                   "not come before it",
                                                   out.size(), filter.prev())});
            }
        }
        out.push_back(std::move(made));
    }
    return out;
}

Cgroups load_cgroups(const ImageSource& source, Findings& findings) {
    Cgroups out;
    criu::cgroup_entry entry;
    if (!source.open("cgroup.img") ||
        !read_single(source, "cgroup.img", image_kind("CGROUP"), entry, findings))
        return out;
    for (const auto& set : entry.sets()) {
        CgroupSet made{set.id(), {}};
        for (const auto& member : set.ctls()) made.members.push_back({member.name(), member.path()});
        out.sets.push_back(std::move(made));
    }
    for (const auto& controller : entry.controllers()) {
        std::string names = fmt::format("{}", fmt::join(controller.cnames(), ","));
        for (const auto& directory : controller.dirs())
            collect_properties(directory, names, "", 0, out.properties);
    }
    return out;
}

const char* name_of(LockKind kind) {
    switch (kind) {
        case LockKind::posix:
            return "posix";
        case LockKind::flock:
            return "flock";
        case LockKind::ofd:
            return "ofd";
        case LockKind::lease:
            return "lease";
        case LockKind::unknown:
            break;
    }
    return "unknown";
}

std::vector<FileLock> load_locks(const ImageSource& source, Findings& findings) {
    std::vector<FileLock> out;
    if (!source.open("filelocks.img")) return out;
    auto reader = ImageReader::open(source, "filelocks.img", image_kind("FILE_LOCKS"), findings);
    criu::file_lock_entry entry;
    while (reader && reader->next(entry)) {
        FileLock lock;
        lock.kind = lock_kind(entry.flag());
        lock.type = lock_type(entry.type());
        lock.pid = entry.pid();
        lock.fd = entry.fd();
        lock.start = entry.start();
        if (entry.len() != 0) lock.length = entry.len();
        out.push_back(std::move(lock));
    }
    return out;
}

std::vector<NamespaceDetails> load_namespaces(const ImageSource& source, Findings& findings) {
    std::vector<NamespaceDetails> out;
    for (const std::string& name : source.list()) {
        auto found = find_image_kind(name);
        if (!found) continue;
        std::string_view kind = found->kind->name;
        NamespaceDetails made;
        made.id = found->number;
        if (kind == "UTSNS") {
            criu::utsns_entry entry;
            if (!read_single(source, name, *found->kind, entry, findings)) continue;
            made.kind = "uts";
            made.hostname = entry.nodename();
            made.domainname = entry.domainname();
        } else if (kind == "USERNS") {
            criu::userns_entry entry;
            if (!read_single(source, name, *found->kind, entry, findings)) continue;
            made.kind = "user";
            made.uids = ranges_of(entry.uid_map());
            made.gids = ranges_of(entry.gid_map());
        } else if (kind == "TIMENS") {
            criu::timens_entry entry;
            if (!read_single(source, name, *found->kind, entry, findings)) continue;
            made.kind = "time";
            made.monotonic_ns = offset_of(entry.monotonic());
            made.boottime_ns = offset_of(entry.boottime());
        } else if (kind == "PIDNS") {
            criu::pidns_entry entry;
            if (!read_single(source, name, *found->kind, entry, findings)) continue;
            made.kind = "pid";
            if (entry.has_ext_key()) made.external_key = entry.ext_key();
        } else if (kind == "NETNS") {
            criu::netns_entry entry;
            if (!read_single(source, name, *found->kind, entry, findings)) continue;
            made.kind = "net";
            if (entry.has_ext_key()) made.external_key = entry.ext_key();
        } else {
            continue;
        }
        out.push_back(std::move(made));
    }
    return out;
}

std::optional<RestoreStatistics> load_restore_statistics(const ImageSource& source, Findings& findings) {
    criu::stats_entry entry;
    if (!source.open("stats-restore") ||
        !read_single(source, "stats-restore", image_kind("STATS_RESTORE"), entry, findings) ||
        !entry.has_restore())
        return std::nullopt;
    const criu::restore_stats_entry& stats = entry.restore();
    return RestoreStatistics{stats.forking_time(), stats.restore_time(), stats.pages_compared(),
                             stats.pages_skipped_cow(), stats.pages_restored()};
}

}  // namespace cprewind::images

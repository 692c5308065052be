#include "images/image_kinds.h"

#include <charconv>

#include "base/error.h"

namespace cprewind::images {

namespace {

// Magics are those of criu/include/magic.h, file names those of criu/image-desc.c (CRIU 4.2 and its
// development branch). Of kinds with the same pattern the first is the current one.
constexpr ImageKind k_kinds[] = {
    {"INVENTORY", 0x58313116, "inventory.img", ImageHead::bare},
    {"PSTREE", 0x50273030, "pstree.img", ImageHead::common},
    {"FDINFO", 0x56213732, "fdinfo-%u.img", ImageHead::common},
    {"PAGEMAP", 0x56084025, "pagemap-%u.img", ImageHead::common},
    {"SHMEM_PAGEMAP", 0x56084025, "pagemap-shmem-%u.img", ImageHead::common},
    {"PAGES", 0, "pages-%u.img", ImageHead::raw},
    {"PAGES_COMPRESSED", 0, "pages-%u.comp.img", ImageHead::raw},  // the CRaC fork
    {"SHM_PAGES_OLD", 0, "pages-shmem-%u.img", ImageHead::raw},
    {"CORE", 0x55053847, "core-%u.img", ImageHead::common},
    {"IDS", 0x54432030, "ids-%u.img", ImageHead::common},
    {"VMAS", 0x54123737, "vmas-%u.img", ImageHead::common},
    {"MM", 0x57492820, "mm-%u.img", ImageHead::common},
    {"PIPES", 0x56513555, "pipes.img", ImageHead::common},
    {"PIPES_DATA", 0x56453709, "pipes-data.img", ImageHead::common},
    {"FIFO", 0x58364939, "fifo.img", ImageHead::common},
    {"FIFO_DATA", 0x59333054, "fifo-data.img", ImageHead::common},
    {"SIGACT", 0x55344201, "sigacts-%u.img", ImageHead::common},
    {"UNIXSK", 0x54373943, "unixsk.img", ImageHead::common},
    {"INETSK", 0x56443851, "inetsk.img", ImageHead::common},
    {"PACKETSK", 0x60454618, "packetsk.img", ImageHead::common},
    {"ITIMERS", 0x57464056, "itimers-%u.img", ImageHead::common},
    {"POSIX_TIMERS", 0x52603957, "posix-timers-%u.img", ImageHead::common},
    {"SK_QUEUES", 0x56264026, "sk-queues.img", ImageHead::common},
    {"UTSNS", 0x54473203, "utsns-%u.img", ImageHead::common},
    {"CREDS", 0x54023547, "creds-%u.img", ImageHead::common},
    {"IPC_VAR", 0x53115007, "ipcns-var-%u.img", ImageHead::common},
    {"IPCNS_SHM", 0x46283044, "ipcns-shm-%u.img", ImageHead::common},
    {"IPCNS_MSG", 0x55453737, "ipcns-msg-%u.img", ImageHead::common},
    {"IPCNS_SEM", 0x59573019, "ipcns-sem-%u.img", ImageHead::common},
    {"REG_FILES", 0x50363636, "reg-files.img", ImageHead::common},
    {"EXT_FILES", 0x59255641, "ext-files.img", ImageHead::common},
    {"FS", 0x51403912, "fs-%u.img", ImageHead::common},
    {"REMAP_FPATH", 0x59133954, "remap-fpath.img", ImageHead::common},
    {"GHOST_FILE", 0x52583605, "ghost-file-%x.img", ImageHead::common},
    {"TCP_STREAM", 0x51465506, "tcp-stream-%x.img", ImageHead::common},
    {"EVENTFD_FILE", 0x44523722, "eventfd.img", ImageHead::common},
    {"EVENTPOLL_FILE", 0x45023858, "eventpoll.img", ImageHead::common},
    {"EVENTPOLL_TFD", 0x44433746, "eventpoll-tfd.img", ImageHead::common},
    {"SIGNALFD", 0x57323820, "signalfd.img", ImageHead::common},
    {"INOTIFY_FILE", 0x48424431, "inotify.img", ImageHead::common},
    {"INOTIFY_WD", 0x54562009, "inotify-wd.img", ImageHead::common},
    {"FANOTIFY_FILE", 0x55096122, "fanotify.img", ImageHead::common},
    {"FANOTIFY_MARK", 0x56506035, "fanotify-mark.img", ImageHead::common},
    {"MNTS", 0x55563928, "mountpoints-%u.img", ImageHead::common},
    {"NETDEV", 0x57373951, "netdev-%u.img", ImageHead::common},
    {"NETNS", 0x55933752, "netns-%u.img", ImageHead::common},
    {"TTY_FILES", 0x59433025, "tty.img", ImageHead::common},
    {"TTY_INFO", 0x59453036, "tty-info.img", ImageHead::common},
    {"TTY_DATA", 0x59413026, "tty-data.img", ImageHead::common},
    {"FILE_LOCKS", 0x54323616, "filelocks.img", ImageHead::common},
    {"RLIMIT", 0x57113925, "rlimit-%u.img", ImageHead::common},
    {"SIGNAL", 0x59255647, "signal-s-%u.img", ImageHead::common},
    {"PSIGNAL", 0x59255647, "signal-p-%u.img", ImageHead::common},
    {"NETLINK_SK", 0x58005614, "netlinksk.img", ImageHead::common},
    {"NS_FILES", 0x61394011, "ns-files.img", ImageHead::common},
    {"TUNFILE", 0x57143751, "tunfile.img", ImageHead::common},
    {"CGROUP", 0x59383330, "cgroup.img", ImageHead::common},
    {"TIMERFD", 0x50493712, "timerfd.img", ImageHead::common},
    {"CPUINFO", 0x61404013, "cpuinfo.img", ImageHead::common},
    {"USERNS", 0x55474906, "userns-%u.img", ImageHead::common},
    {"SECCOMP", 0x64413049, "seccomp.img", ImageHead::common},
    {"BINFMT_MISC", 0x67343323, "binfmt-misc.img", ImageHead::common},
    {"BINFMT_MISC_OLD", 0x67343323, "binfmt-misc-%u.img", ImageHead::common},
    {"AUTOFS", 0x49353943, "autofs-%u.img", ImageHead::common},
    {"FILES", 0x56303138, "files.img", ImageHead::common},
    {"MEMFD_INODE", 0x48453499, "memfd.img", ImageHead::common},
    {"TIMENS", 0x43114433, "timens-%u.img", ImageHead::common},
    {"PIDNS", 0x61157326, "pidns-%u.img", ImageHead::common},
    {"BPFMAP_FILE", 0x57506142, "bpfmap-file.img", ImageHead::common},
    {"BPFMAP_DATA", 0x64324033, "bpfmap-data.img", ImageHead::common},
    {"APPARMOR", 0x59423047, "apparmor.img", ImageHead::common},
    {"PIDFD", 0x54435556, "pidfd.img", ImageHead::common},
    {"STATS", 0x57093306, "stats-dump", ImageHead::service},
    {"STATS_RESTORE", 0x57093306, "stats-restore", ImageHead::service},
    {"IRMAP_CACHE", 0x57004059, "irmap-cache.img", ImageHead::service},
    {"IFADDR", 0, "ifaddr-%u.img", ImageHead::raw},
    {"ROUTE", 0, "route-%u.img", ImageHead::raw},
    {"ROUTE6", 0, "route6-%u.img", ImageHead::raw},
    {"RULE", 0, "rule-%u.img", ImageHead::raw},
    {"IPTABLES", 0, "iptables-%u.img", ImageHead::raw},
    {"IP6TABLES", 0, "ip6tables-%u.img", ImageHead::raw},
    {"NFTABLES", 0, "nftables-%u.img", ImageHead::raw},
    {"NETNS_CT", 0, "netns-ct-%u.img", ImageHead::raw},
    {"NETNS_EXP", 0, "netns-exp-%u.img", ImageHead::raw},
    {"TMPFS_IMG", 0, "tmpfs-%u.tar.gz.img", ImageHead::raw},
    {"TMPFS_DEV", 0, "tmpfs-dev-%u.tar.gz.img", ImageHead::raw},
    {"AMDGPU_KFD", 0, "amdgpu-kfd-%u.img", ImageHead::raw},
    {"AMDGPU_RENDERD", 0, "amdgpu-renderD-%u.img", ImageHead::raw},
    {"AMDGPU_PAGES", 0, "amdgpu-pages-%u-%x.img", ImageHead::raw},
    {"AMDGPU_DRM_PAGES", 0, "amdgpu-drm-pages-%u-%x.img", ImageHead::raw},
    {"AMDGPU_DMABUF", 0, "amdgpu-dmabuf_%u.img", ImageHead::raw},
};

// Takes a number off the front of `text`, or nothing.
std::optional<uint64_t> take_number(std::string_view& text, int base) {
    uint64_t value = 0;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
    if (error != std::errc()) return std::nullopt;
    text.remove_prefix(static_cast<size_t>(end - text.data()));
    return value;
}

// The first number when `name` has the form of `pattern`.
std::optional<uint64_t> match(std::string_view pattern, std::string_view name) {
    std::optional<uint64_t> first;
    while (!pattern.empty()) {
        if (pattern.front() != '%') {
            if (name.empty() || name.front() != pattern.front()) return std::nullopt;
            name.remove_prefix(1);
            pattern.remove_prefix(1);
            continue;
        }
        auto number = take_number(name, pattern[1] == 'x' ? 16 : 10);
        if (!number) return std::nullopt;
        if (!first) first = number;
        pattern.remove_prefix(2);
    }
    if (!name.empty()) return std::nullopt;
    return first.value_or(0);
}

}  // namespace

std::span<const ImageKind> all_image_kinds() {
    return k_kinds;
}

const ImageKind& image_kind(std::string_view name) {
    const ImageKind* found = nullptr;
    for (const ImageKind& kind : k_kinds) {
        if (name == kind.name) found = &kind;
    }
    CPREWIND_CHECK(found != nullptr);
    return *found;
}

std::optional<NamedKind> find_image_kind(std::string_view file_name) {
    for (const ImageKind& kind : k_kinds) {
        if (auto number = match(kind.pattern, file_name)) return NamedKind{&kind, *number};
    }
    return std::nullopt;
}

std::string image_file_name(const ImageKind& kind, uint64_t number) {
    std::string pattern = kind.pattern;
    size_t place = pattern.find('%');
    if (place == std::string::npos) return pattern;
    std::string digits = pattern[place + 1] == 'x' ? fmt::format("{:x}", number) : fmt::format("{}", number);
    return pattern.replace(place, 2, digits);
}

}  // namespace cprewind::images

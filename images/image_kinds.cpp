#include "images/image_kinds.h"

#include <charconv>

#include "base/bytes.h"
#include "base/error.h"
#include "images/proto/content.pb.h"
#include "images/proto/files.pb.h"
#include "images/proto/memory.pb.h"
#include "images/proto/namespaces.pb.h"
#include "images/proto/process.pb.h"
#include "images/proto/system.pb.h"

namespace cprewind::images {

namespace {

template <typename Entry>
const google::protobuf::Message& of() {
    return Entry::default_instance();
}

// Magics are those of criu/include/magic.h, file names those of criu/image-desc.c (CRIU 4.2 and its
// development branch). Of kinds with the same pattern the first is the current one.
constexpr ImageKind k_kinds[] = {
    {"INVENTORY", 0x58313116, "inventory.img", ImageHead::bare, of<criu::inventory_entry>, Payload::none, ""},
    {"PSTREE", 0x50273030, "pstree.img", ImageHead::common, of<criu::pstree_entry>, Payload::none, ""},
    {"FDINFO", 0x56213732, "fdinfo-%u.img", ImageHead::common, of<criu::fdinfo_entry>, Payload::none, ""},
    {"PAGEMAP", 0x56084025, "pagemap-%u.img", ImageHead::common, of<criu::pagemap_entry>, Payload::pagemap,
     ""},
    {"SHMEM_PAGEMAP", 0x56084025, "pagemap-shmem-%u.img", ImageHead::common, of<criu::pagemap_entry>,
     Payload::pagemap, ""},
    {"PAGES", 0, "pages-%u.img", ImageHead::raw, nullptr, Payload::none, ""},
    {"PAGES_COMPRESSED", 0, "pages-%u.comp.img", ImageHead::raw, nullptr, Payload::none, "the CRaC fork"},
    {"SHM_PAGES_OLD", 0, "pages-shmem-%u.img", ImageHead::raw, nullptr, Payload::none, "before 3.0"},
    {"CORE", 0x55053847, "core-%u.img", ImageHead::common, of<criu::core_entry>, Payload::none, ""},
    {"IDS", 0x54432030, "ids-%u.img", ImageHead::common, of<criu::task_kobj_ids_entry>, Payload::none, ""},
    {"VMAS", 0x54123737, "vmas-%u.img", ImageHead::common, of<criu::vma_entry>, Payload::none, "before 3.0"},
    {"MM", 0x57492820, "mm-%u.img", ImageHead::common, of<criu::mm_entry>, Payload::none, ""},
    {"PIPES", 0x56513555, "pipes.img", ImageHead::common, of<criu::pipe_entry>, Payload::none, "before 3.4"},
    {"PIPES_DATA", 0x56453709, "pipes-data.img", ImageHead::common, of<criu::pipe_data_entry>, Payload::pipe,
     ""},
    {"FIFO", 0x58364939, "fifo.img", ImageHead::common, of<criu::fifo_entry>, Payload::none, "before 3.4"},
    {"FIFO_DATA", 0x59333054, "fifo-data.img", ImageHead::common, of<criu::pipe_data_entry>, Payload::pipe,
     ""},
    {"SIGACT", 0x55344201, "sigacts-%u.img", ImageHead::common, of<criu::sa_entry>, Payload::none,
     "before 3.1"},
    {"UNIXSK", 0x54373943, "unixsk.img", ImageHead::common, of<criu::unix_sk_entry>, Payload::none,
     "before 3.4"},
    {"INETSK", 0x56443851, "inetsk.img", ImageHead::common, of<criu::inet_sk_entry>, Payload::none,
     "before 3.4"},
    {"PACKETSK", 0x60454618, "packetsk.img", ImageHead::common, of<criu::packet_sock_entry>, Payload::none,
     "before 3.4"},
    {"ITIMERS", 0x57464056, "itimers-%u.img", ImageHead::common, of<criu::itimer_entry>, Payload::none,
     "before 3.0"},
    {"POSIX_TIMERS", 0x52603957, "posix-timers-%u.img", ImageHead::common, of<criu::posix_timer_entry>,
     Payload::none, "before 3.0"},
    {"SK_QUEUES", 0x56264026, "sk-queues.img", ImageHead::common, of<criu::sk_packet_entry>, Payload::packet,
     ""},
    {"UTSNS", 0x54473203, "utsns-%u.img", ImageHead::common, of<criu::utsns_entry>, Payload::none, ""},
    {"CREDS", 0x54023547, "creds-%u.img", ImageHead::common, of<criu::creds_entry>, Payload::none, ""},
    {"IPC_VAR", 0x53115007, "ipcns-var-%u.img", ImageHead::common, of<criu::ipc_var_entry>, Payload::none,
     ""},
    {"IPCNS_SHM", 0x46283044, "ipcns-shm-%u.img", ImageHead::common, of<criu::ipc_shm_entry>,
     Payload::shared_memory, ""},
    {"IPCNS_MSG", 0x55453737, "ipcns-msg-%u.img", ImageHead::common, of<criu::ipc_msg_entry>,
     Payload::messages, ""},
    {"IPCNS_SEM", 0x59573019, "ipcns-sem-%u.img", ImageHead::common, of<criu::ipc_sem_entry>,
     Payload::semaphores, ""},
    {"REG_FILES", 0x50363636, "reg-files.img", ImageHead::common, of<criu::reg_file_entry>, Payload::none,
     "before 3.4"},
    {"EXT_FILES", 0x59255641, "ext-files.img", ImageHead::common, of<criu::ext_file_entry>, Payload::none,
     "before 3.4"},
    {"FS", 0x51403912, "fs-%u.img", ImageHead::common, of<criu::fs_entry>, Payload::none, ""},
    {"REMAP_FPATH", 0x59133954, "remap-fpath.img", ImageHead::common, of<criu::remap_file_path_entry>,
     Payload::none, ""},
    {"GHOST_FILE", 0x52583605, "ghost-file-%x.img", ImageHead::common, of<criu::ghost_file_entry>,
     Payload::ghost, ""},
    {"TCP_STREAM", 0x51465506, "tcp-stream-%x.img", ImageHead::common, of<criu::tcp_stream_entry>,
     Payload::tcp, ""},
    {"EVENTFD_FILE", 0x44523722, "eventfd.img", ImageHead::common, of<criu::eventfd_file_entry>,
     Payload::none, "before 3.4"},
    {"EVENTPOLL_FILE", 0x45023858, "eventpoll.img", ImageHead::common, of<criu::eventpoll_file_entry>,
     Payload::none, "before 3.4"},
    {"EVENTPOLL_TFD", 0x44433746, "eventpoll-tfd.img", ImageHead::common, of<criu::eventpoll_tfd_entry>,
     Payload::none, "before 3.4"},
    {"SIGNALFD", 0x57323820, "signalfd.img", ImageHead::common, of<criu::signalfd_entry>, Payload::none,
     "before 3.4"},
    {"INOTIFY_FILE", 0x48424431, "inotify.img", ImageHead::common, of<criu::inotify_file_entry>,
     Payload::none, "before 3.4"},
    {"INOTIFY_WD", 0x54562009, "inotify-wd.img", ImageHead::common, of<criu::inotify_wd_entry>, Payload::none,
     "before 3.4"},
    {"FANOTIFY_FILE", 0x55096122, "fanotify.img", ImageHead::common, of<criu::fanotify_file_entry>,
     Payload::none, "before 3.4"},
    {"FANOTIFY_MARK", 0x56506035, "fanotify-mark.img", ImageHead::common, of<criu::fanotify_mark_entry>,
     Payload::none, "before 3.4"},
    {"MNTS", 0x55563928, "mountpoints-%u.img", ImageHead::common, of<criu::mnt_entry>, Payload::none, ""},
    {"NETDEV", 0x57373951, "netdev-%u.img", ImageHead::common, of<criu::net_device_entry>, Payload::none, ""},
    {"NETNS", 0x55933752, "netns-%u.img", ImageHead::common, of<criu::netns_entry>, Payload::none, ""},
    {"TTY_FILES", 0x59433025, "tty.img", ImageHead::common, of<criu::tty_file_entry>, Payload::none,
     "before 3.4"},
    {"TTY_INFO", 0x59453036, "tty-info.img", ImageHead::common, of<criu::tty_info_entry>, Payload::none, ""},
    {"TTY_DATA", 0x59413026, "tty-data.img", ImageHead::common, of<criu::tty_data_entry>, Payload::none, ""},
    {"FILE_LOCKS", 0x54323616, "filelocks.img", ImageHead::common, of<criu::file_lock_entry>, Payload::none,
     ""},
    {"RLIMIT", 0x57113925, "rlimit-%u.img", ImageHead::common, of<criu::rlimit_entry>, Payload::none,
     "before 3.0"},
    {"SIGNAL", 0x59255647, "signal-s-%u.img", ImageHead::common, of<criu::siginfo_entry>, Payload::none,
     "before 3.0"},
    {"PSIGNAL", 0x59255647, "signal-p-%u.img", ImageHead::common, of<criu::siginfo_entry>, Payload::none,
     "before 3.0"},
    {"NETLINK_SK", 0x58005614, "netlinksk.img", ImageHead::common, of<criu::netlink_sk_entry>, Payload::none,
     "before 3.4"},
    {"NS_FILES", 0x61394011, "ns-files.img", ImageHead::common, of<criu::ns_file_entry>, Payload::none,
     "before 3.4"},
    {"TUNFILE", 0x57143751, "tunfile.img", ImageHead::common, of<criu::tunfile_entry>, Payload::none,
     "before 3.4"},
    {"CGROUP", 0x59383330, "cgroup.img", ImageHead::common, of<criu::cgroup_entry>, Payload::none, ""},
    {"TIMERFD", 0x50493712, "timerfd.img", ImageHead::common, of<criu::timerfd_entry>, Payload::none,
     "before 3.4"},
    {"CPUINFO", 0x61404013, "cpuinfo.img", ImageHead::common, of<criu::cpuinfo_entry>, Payload::none, ""},
    {"USERNS", 0x55474906, "userns-%u.img", ImageHead::common, of<criu::userns_entry>, Payload::none, ""},
    {"SECCOMP", 0x64413049, "seccomp.img", ImageHead::common, of<criu::seccomp_entry>, Payload::none, ""},
    {"BINFMT_MISC", 0x67343323, "binfmt-misc.img", ImageHead::common, of<criu::binfmt_misc_entry>,
     Payload::none, ""},
    {"BINFMT_MISC_OLD", 0x67343323, "binfmt-misc-%u.img", ImageHead::common, of<criu::binfmt_misc_entry>,
     Payload::none, "before 3.0"},
    {"AUTOFS", 0x49353943, "autofs-%u.img", ImageHead::common, of<criu::autofs_entry>, Payload::none, ""},
    {"FILES", 0x56303138, "files.img", ImageHead::common, of<criu::file_entry>, Payload::none,
     "3.4 and later"},
    {"MEMFD_INODE", 0x48453499, "memfd.img", ImageHead::common, of<criu::memfd_inode_entry>, Payload::none,
     "3.14 and later"},
    {"TIMENS", 0x43114433, "timens-%u.img", ImageHead::common, of<criu::timens_entry>, Payload::none,
     "3.14 and later"},
    {"PIDNS", 0x61157326, "pidns-%u.img", ImageHead::common, of<criu::pidns_entry>, Payload::none,
     "3.15 and later"},
    {"BPFMAP_FILE", 0x57506142, "bpfmap-file.img", ImageHead::common, of<criu::bpfmap_file_entry>,
     Payload::none, "3.15 and later"},
    {"BPFMAP_DATA", 0x64324033, "bpfmap-data.img", ImageHead::common, of<criu::bpfmap_data_entry>,
     Payload::bpf_map, "3.15 and later"},
    {"APPARMOR", 0x59423047, "apparmor.img", ImageHead::common, of<criu::apparmor_entry>, Payload::none,
     "3.16 and later"},
    {"PIDFD", 0x54435556, "pidfd.img", ImageHead::common, of<criu::pidfd_entry>, Payload::none,
     "4.1 and later"},
    {"STATS", 0x57093306, "stats-dump", ImageHead::service, of<criu::stats_entry>, Payload::none, ""},
    {"STATS_RESTORE", 0x57093306, "stats-restore", ImageHead::service, of<criu::stats_entry>, Payload::none,
     ""},
    {"IRMAP_CACHE", 0x57004059, "irmap-cache.img", ImageHead::service, of<criu::irmap_cache_entry>,
     Payload::none, ""},
    {"IFADDR", 0, "ifaddr-%u.img", ImageHead::raw, nullptr, Payload::none, ""},
    {"ROUTE", 0, "route-%u.img", ImageHead::raw, nullptr, Payload::none, ""},
    {"ROUTE6", 0, "route6-%u.img", ImageHead::raw, nullptr, Payload::none, ""},
    {"RULE", 0, "rule-%u.img", ImageHead::raw, nullptr, Payload::none, ""},
    {"IPTABLES", 0, "iptables-%u.img", ImageHead::raw, nullptr, Payload::none, ""},
    {"IP6TABLES", 0, "ip6tables-%u.img", ImageHead::raw, nullptr, Payload::none, ""},
    {"NFTABLES", 0, "nftables-%u.img", ImageHead::raw, nullptr, Payload::none, ""},
    {"NETNS_CT", 0, "netns-ct-%u.img", ImageHead::raw, nullptr, Payload::none, ""},
    {"NETNS_EXP", 0, "netns-exp-%u.img", ImageHead::raw, nullptr, Payload::none, ""},
    {"TMPFS_IMG", 0, "tmpfs-%u.tar.gz.img", ImageHead::raw, nullptr, Payload::none, ""},
    {"TMPFS_DEV", 0, "tmpfs-dev-%u.tar.gz.img", ImageHead::raw, nullptr, Payload::none, ""},
    {"AMDGPU_KFD", 0, "amdgpu-kfd-%u.img", ImageHead::raw, nullptr, Payload::none, "the amdgpu plugin"},
    {"AMDGPU_RENDERD", 0, "amdgpu-renderD-%u.img", ImageHead::raw, nullptr, Payload::none,
     "the amdgpu plugin"},
    {"AMDGPU_PAGES", 0, "amdgpu-pages-%u-%x.img", ImageHead::raw, nullptr, Payload::none,
     "the amdgpu plugin"},
    {"AMDGPU_DRM_PAGES", 0, "amdgpu-drm-pages-%u-%x.img", ImageHead::raw, nullptr, Payload::none,
     "the amdgpu plugin, up to 4.2"},
    {"AMDGPU_DRM_PAGES_OF", 0, "amdgpu-drm-pages-%u-%u-%x.img", ImageHead::raw, nullptr, Payload::none,
     "the amdgpu plugin, after 4.2"},
    {"AMDGPU_DMABUF", 0, "amdgpu-dmabuf_%u.img", ImageHead::raw, nullptr, Payload::none, "the amdgpu plugin"},
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

const ImageKind* find_image_kind_by_name(std::string_view name) {
    for (const ImageKind& kind : k_kinds) {
        if (name == kind.name) return &kind;
    }
    return nullptr;
}

const ImageKind* find_image_kind_by_magic(uint32_t magic) {
    for (const ImageKind& kind : k_kinds) {
        if (kind.head != ImageHead::raw && kind.magic == magic) return &kind;
    }
    return nullptr;
}

bool is_swapped_head(uint32_t word) {
    uint32_t swapped = base::swap_bytes(word);
    return swapped == k_common_magic || swapped == k_service_magic ||
           (find_image_kind_by_magic(swapped) != nullptr && find_image_kind_by_magic(word) == nullptr);
}

const ImageKind& image_kind(std::string_view name) {
    const ImageKind* found = find_image_kind_by_name(name);
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

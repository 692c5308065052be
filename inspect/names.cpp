#include "inspect/names.h"

#include <fmt/format.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <ctime>

#include <csignal>
#include <cstring>
#include <iterator>

namespace cprewind::inspect {

namespace {

template <typename Flag>
struct Named {
    Flag flag;
    const char* name;
};

// Names of the bits that are set; bits without a name are told together in hex.
template <typename Flag, size_t N>
std::vector<std::string> bits(uint64_t value, const Named<Flag> (&names)[N]) {
    std::vector<std::string> out;
    for (const auto& each : names) {
        if ((value & each.flag) == 0) continue;
        out.emplace_back(each.name);
        value &= ~static_cast<uint64_t>(each.flag);
    }
    if (value != 0) out.push_back(fmt::format("{:#x}", value));
    return out;
}

// The first real-time signal of the kernel's that glibc leaves to programs.
constexpr uint32_t k_first_realtime = 34;
constexpr uint32_t k_last_signal = 64;

template <size_t N>
std::string of_list(uint64_t index, const char* const (&names)[N], std::string_view prefix,
                    std::string_view what) {
    if (index < N && names[index] != nullptr) return fmt::format("{}{}", prefix, names[index]);
    return fmt::format("{} {}", what, index);
}

}  // namespace

std::string signal_name(uint32_t signal) {
    const char* name = signal < 32 ? sigabbrev_np(static_cast<int>(signal)) : nullptr;
    if (name != nullptr) return fmt::format("SIG{}", name);
    if (signal == k_first_realtime) return "SIGRTMIN";
    if (signal > k_first_realtime && signal <= k_last_signal)
        return fmt::format("SIGRTMIN+{}", signal - k_first_realtime);
    return fmt::format("signal {}", signal);
}

std::vector<std::string> signal_names(uint64_t mask) {
    std::vector<std::string> out;
    for (uint32_t signal = 1; signal <= k_last_signal; ++signal) {
        if ((mask >> (signal - 1) & 1) != 0) out.push_back(signal_name(signal));
    }
    return out;
}

std::string signal_code_name(uint32_t signal, int32_t code) {
    switch (code) {
        case SI_USER:
            return "SI_USER";
        case SI_KERNEL:
            return "SI_KERNEL";
        case SI_QUEUE:
            return "SI_QUEUE";
        case SI_TIMER:
            return "SI_TIMER";
        case SI_MESGQ:
            return "SI_MESGQ";
        case SI_ASYNCIO:
            return "SI_ASYNCIO";
        case SI_SIGIO:
            return "SI_SIGIO";
        case SI_TKILL:
            return "SI_TKILL";
        default:
            break;
    }
    constexpr const char* k_child[] = {nullptr,       "CLD_EXITED",  "CLD_KILLED",   "CLD_DUMPED",
                                       "CLD_TRAPPED", "CLD_STOPPED", "CLD_CONTINUED"};
    if (signal == SIGCHLD && code > 0 && code < static_cast<int32_t>(std::size(k_child)))
        return k_child[code];
    return fmt::format("{}", code);
}

std::vector<std::string> action_flag_names(uint64_t flags) {
    constexpr Named<uint64_t> k_names[] = {
        {0x1, "SA_NOCLDSTOP"},        {0x2, "SA_NOCLDWAIT"},        {0x4, "SA_SIGINFO"},
        {0x400, "SA_UNSUPPORTED"},    {0x800, "SA_EXPOSE_TAGBITS"}, {0x04000000, "SA_RESTORER"},
        {0x08000000, "SA_ONSTACK"},   {0x10000000, "SA_RESTART"},   {0x40000000, "SA_NODEFER"},
        {0x80000000, "SA_RESETHAND"},
    };
    return bits(flags, k_names);
}

std::string clock_name(uint32_t clock) {
    constexpr const char* k_names[] = {"REALTIME",          "MONOTONIC",     "PROCESS_CPUTIME_ID",
                                       "THREAD_CPUTIME_ID", "MONOTONIC_RAW", "REALTIME_COARSE",
                                       "MONOTONIC_COARSE",  "BOOTTIME",      "REALTIME_ALARM",
                                       "BOOTTIME_ALARM",    nullptr,         "TAI"};
    return of_list(clock, k_names, "CLOCK_", "clock");
}

std::string notify_name(uint32_t notify) {
    constexpr const char* k_names[] = {"SIGNAL", "NONE", "THREAD", nullptr, "THREAD_ID"};
    return of_list(notify, k_names, "SIGEV_", "notify");
}

const char* capability_name(unsigned number) {
    // include/uapi/linux/capability.h
    constexpr const char* k_names[] = {"CAP_CHOWN",
                                       "CAP_DAC_OVERRIDE",
                                       "CAP_DAC_READ_SEARCH",
                                       "CAP_FOWNER",
                                       "CAP_FSETID",
                                       "CAP_KILL",
                                       "CAP_SETGID",
                                       "CAP_SETUID",
                                       "CAP_SETPCAP",
                                       "CAP_LINUX_IMMUTABLE",
                                       "CAP_NET_BIND_SERVICE",
                                       "CAP_NET_BROADCAST",
                                       "CAP_NET_ADMIN",
                                       "CAP_NET_RAW",
                                       "CAP_IPC_LOCK",
                                       "CAP_IPC_OWNER",
                                       "CAP_SYS_MODULE",
                                       "CAP_SYS_RAWIO",
                                       "CAP_SYS_CHROOT",
                                       "CAP_SYS_PTRACE",
                                       "CAP_SYS_PACCT",
                                       "CAP_SYS_ADMIN",
                                       "CAP_SYS_BOOT",
                                       "CAP_SYS_NICE",
                                       "CAP_SYS_RESOURCE",
                                       "CAP_SYS_TIME",
                                       "CAP_SYS_TTY_CONFIG",
                                       "CAP_MKNOD",
                                       "CAP_LEASE",
                                       "CAP_AUDIT_WRITE",
                                       "CAP_AUDIT_CONTROL",
                                       "CAP_SETFCAP",
                                       "CAP_MAC_OVERRIDE",
                                       "CAP_MAC_ADMIN",
                                       "CAP_SYSLOG",
                                       "CAP_WAKE_ALARM",
                                       "CAP_BLOCK_SUSPEND",
                                       "CAP_AUDIT_READ",
                                       "CAP_PERFMON",
                                       "CAP_BPF",
                                       "CAP_CHECKPOINT_RESTORE"};
    return number < std::size(k_names) ? k_names[number] : nullptr;
}

std::vector<std::string> capability_names(uint64_t set) {
    std::vector<std::string> out;
    for (unsigned number = 0; number < 64; ++number) {
        if ((set >> number & 1) == 0) continue;
        const char* name = capability_name(number);
        out.push_back(name != nullptr ? name : fmt::format("CAP_{}", number));
    }
    return out;
}

std::string limit_name(size_t resource) {
    // The order of x86 and most others.
    constexpr const char* k_names[] = {"CPU",      "FSIZE",  "DATA",    "STACK", "CORE",  "RSS",
                                       "NPROC",    "NOFILE", "MEMLOCK", "AS",    "LOCKS", "SIGPENDING",
                                       "MSGQUEUE", "NICE",   "RTPRIO",  "RTTIME"};
    return of_list(resource, k_names, "", "limit");
}

std::string policy_name(uint32_t policy) {
    constexpr const char* k_names[] = {"OTHER", "FIFO", "RR", "BATCH", nullptr, "IDLE", "DEADLINE"};
    return of_list(policy, k_names, "SCHED_", "policy");
}

std::string seccomp_mode_name(uint32_t mode) {
    constexpr const char* k_names[] = {"disabled", "strict", "filter"};
    return of_list(mode, k_names, "", "mode");
}

std::vector<std::string> epoll_event_names(uint32_t events) {
    constexpr Named<uint32_t> k_names[] = {
        {EPOLLIN, "IN"},         {EPOLLPRI, "PRI"},         {EPOLLOUT, "OUT"},
        {EPOLLERR, "ERR"},       {EPOLLHUP, "HUP"},         {EPOLLRDNORM, "RDNORM"},
        {EPOLLRDBAND, "RDBAND"}, {EPOLLWRNORM, "WRNORM"},   {EPOLLWRBAND, "WRBAND"},
        {EPOLLMSG, "MSG"},       {EPOLLRDHUP, "RDHUP"},     {EPOLLEXCLUSIVE, "EXCLUSIVE"},
        {EPOLLWAKEUP, "WAKEUP"}, {EPOLLONESHOT, "ONESHOT"}, {EPOLLET, "ET"}};
    return bits(events, k_names);
}

std::vector<std::string> watch_event_names(uint32_t mask) {
    constexpr Named<uint32_t> k_names[] = {{IN_ACCESS, "ACCESS"},
                                           {IN_MODIFY, "MODIFY"},
                                           {IN_ATTRIB, "ATTRIB"},
                                           {IN_CLOSE_WRITE, "CLOSE_WRITE"},
                                           {IN_CLOSE_NOWRITE, "CLOSE_NOWRITE"},
                                           {IN_OPEN, "OPEN"},
                                           {IN_MOVED_FROM, "MOVED_FROM"},
                                           {IN_MOVED_TO, "MOVED_TO"},
                                           {IN_CREATE, "CREATE"},
                                           {IN_DELETE, "DELETE"},
                                           {IN_DELETE_SELF, "DELETE_SELF"},
                                           {IN_MOVE_SELF, "MOVE_SELF"}};
    return bits(mask, k_names);
}

std::vector<std::string> mount_flag_names(uint64_t flags) {
    constexpr Named<uint64_t> k_names[] = {{MS_RDONLY, "ro"},
                                           {MS_NOSUID, "nosuid"},
                                           {MS_NODEV, "nodev"},
                                           {MS_NOEXEC, "noexec"},
                                           {MS_SYNCHRONOUS, "sync"},
                                           {MS_MANDLOCK, "mand"},
                                           {MS_DIRSYNC, "dirsync"},
                                           {MS_NOATIME, "noatime"},
                                           {MS_NODIRATIME, "nodiratime"},
                                           {MS_UNBINDABLE, "unbindable"},
                                           {MS_PRIVATE, "private"},
                                           {MS_SLAVE, "slave"},
                                           {MS_SHARED, "shared"},
                                           {MS_RELATIME, "relatime"},
                                           {MS_STRICTATIME, "strictatime"},
                                           {MS_LAZYTIME, "lazytime"}};
    return bits(flags, k_names);
}

std::vector<std::string> device_flag_names(uint32_t flags) {
    constexpr Named<uint32_t> k_names[] = {{IFF_UP, "up"},
                                           {IFF_BROADCAST, "broadcast"},
                                           {IFF_LOOPBACK, "loopback"},
                                           {IFF_POINTOPOINT, "pointopoint"},
                                           {IFF_RUNNING, "running"},
                                           {IFF_NOARP, "noarp"},
                                           {IFF_PROMISC, "promisc"},
                                           {IFF_ALLMULTI, "allmulti"},
                                           {IFF_MULTICAST, "multicast"},
                                           {0x10000, "lower_up"}};
    return bits(flags, k_names);
}

std::string family_name(uint32_t family) {
    switch (family) {
        case AF_UNIX:
            return "unix";
        case AF_INET:
            return "inet";
        case AF_INET6:
            return "inet6";
        case AF_NETLINK:
            return "netlink";
        case AF_PACKET:
            return "packet";
        default:
            return fmt::format("family {}", family);
    }
}

std::string socket_type_name(uint32_t type) {
    constexpr const char* k_names[] = {nullptr, "stream", "dgram", "raw", "rdm", "seqpacket", "dccp"};
    return of_list(type, k_names, "", "type");
}

std::string netlink_name(uint32_t protocol) {
    constexpr const char* k_names[] = {
        "route",   nullptr, "usersock",      "firewall",  "sock_diag", "nflog",  "xfrm",    "selinux",
        "iscsi",   "audit", "fib_lookup",    "connector", "netfilter", "ip6_fw", "dnrtmsg", "kobject_uevent",
        "generic", nullptr, "scsitransport", "ecryptfs",  "rdma",      "crypto", "smc"};
    return of_list(protocol, k_names, "", "protocol");
}

}  // namespace cprewind::inspect

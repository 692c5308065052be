#include "engine/doctor_process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <map>
#include <optional>
#include <thread>
#include <utility>

#include "base/error.h"
#include "base/fd.h"
#include "base/text.h"
#include "engine/doctor_watches.h"

namespace cprewind::engine {
namespace {

namespace fs = std::filesystem;

// CRIU copies nameless files into the dump up to this size unless told otherwise (its --ghost-limit).
constexpr uint64_t k_ghost_limit = 1u << 20;
// From linux/tcp.h and net/tcp_states.h.
constexpr int k_tcp_established = 1;
constexpr int k_tcp_listen = 10;
// A thread that waits for a disk, or for its vfork, is in state D as well, but not for long.
constexpr std::chrono::milliseconds k_longest_ordinary_wait{500};

std::string read_or_empty(const fs::path& path) {
    try {
        return base::read_file(path);
    } catch (const base::Error&) {
        return {};  // it has ended meanwhile
    }
}

std::string link_or_empty(const fs::path& path) {
    std::error_code ignored;
    return fs::read_symlink(path, ignored).string();
}

std::vector<pid_t> threads_of(pid_t pid) {
    std::vector<pid_t> threads;
    std::error_code ended;
    for (fs::directory_iterator entry(fmt::format("/proc/{}/task", pid), ended), end; !ended && entry != end;
         entry.increment(ended)) {
        auto id = base::parse_number(entry->path().filename().string());
        if (id) threads.push_back(static_cast<pid_t>(*id));
    }
    return threads;
}

// A field of a status file of proc without blanks around it, or empty.
std::string field_of(std::string_view status, std::string_view field) {
    for (const std::string& line : base::split(status, '\n')) {
        if (line.starts_with(field))
            return std::string(base::trim(std::string_view(line).substr(field.size())));
    }
    return {};
}

// How often a thread that is in state D now has given up its processor so far, as text; nothing if it is in another state.
std::optional<std::string> switches_if_uninterruptible(pid_t pid, pid_t thread) {
    std::string status = read_or_empty(fmt::format("/proc/{}/task/{}/status", pid, thread));
    if (!field_of(status, "State:").starts_with('D')) return std::nullopt;
    return field_of(status, "voluntary_ctxt_switches:") + "+" +
           field_of(status, "nonvoluntary_ctxt_switches:");
}

std::string descriptor_label(pid_t pid, int fd, std::string_view target) {
    return fmt::format("{}, descriptor {}: {}", process_label(pid), fd, base::escape(target));
}

// Kernel objects without a name that CRIU makes again.
bool is_known_object(std::string_view target) {
    constexpr std::array<std::string_view, 6> k_known = {"[eventpoll]", "[eventfd]", "[signalfd]",
                                                         "[timerfd]",   "inotify",   "[fanotify]"};
    std::string_view kind = target.substr(std::string_view("anon_inode:").size());
    for (std::string_view known : k_known) {
        if (kind == known) return true;
    }
    return kind == "[pidfd]";
}

void examine_object(pid_t pid, int fd, const std::string& target, std::vector<ContainerFinding>& findings) {
    if (is_known_object(target)) return;
    ContainerFinding finding{Effect::snap_fails,
                             "kernel object",
                             descriptor_label(pid, fd, target),
                             "CRIU cannot dump it",
                             "close it, or stop this process, while the snapshot is taken",
                             pid,
                             fd};
    if (target.find("io_uring") != target.npos) {
        finding.what = "io_uring";
        finding.remedy = "turn io_uring off in the application (node: UV_USE_IO_URING=0)";
    } else if (target.find("userfaultfd") != target.npos) {
        finding.what = "userfaultfd";
    } else if (target.find("perf_event") != target.npos) {
        finding.what = "perf_event";
        finding.remedy = "stop perf and profilers first";
    } else if (target.find("bpf") != target.npos) {
        finding.what = "BPF";
        finding.remedy = "stop what uses BPF in the container";
    } else if (target.find("kvm") != target.npos) {
        finding.what = "KVM";
        finding.remedy = "virtual machines cannot be part of a snapshot: run them elsewhere";
    }
    findings.push_back(finding);
}

bool is_harmless_device(const struct stat& st) {
    unsigned major = major(st.st_rdev);
    unsigned minor = minor(st.st_rdev);
    // mem: null, zero, full, random, urandom; tty, console, ptmx; pseudo-terminals; net/tun.
    if (major == 1) return minor == 3 || minor == 5 || minor == 7 || minor == 8 || minor == 9 || minor == 11;
    return major == 4 || major == 5 || (major >= 136 && major <= 143) || (major == 10 && minor == 200);
}

void examine_file(pid_t pid, int fd, const fs::path& link, const std::string& target,
                  std::vector<ContainerFinding>& findings) {
    struct stat st {};
    if (::stat(link.c_str(), &st) != 0) return;
    std::string label = descriptor_label(pid, fd, target);
    if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode)) {
        if (S_ISCHR(st.st_mode) && is_harmless_device(st)) return;
        bool gpu =
            target.starts_with("/dev/nvidia") || target.starts_with("/dev/dri/") || target == "/dev/kfd";
        findings.push_back(
            {Effect::snap_fails, gpu ? "GPU" : "device", label,
             "the state of a device is in its driver, and CRIU cannot dump it",
             gpu ? "checkpoint with the vendor's CRIU plugin (cuda-checkpoint, amdgpu), or stop the GPU work"
                 : "close the device while the snapshot is taken",
             pid, fd});
        return;
    }
    if (!S_ISREG(st.st_mode) || !target.ends_with(" (deleted)") || target.starts_with("/memfd:")) return;
    auto size = static_cast<uint64_t>(st.st_size);
    if (st.st_nlink > 0 && target.find("/#") == target.npos) {
        findings.push_back({Effect::snap_fails, "deleted file with another name", label,
                            "CRIU would have to make one more link to it, and may not unless told so",
                            "link-remap in /etc/criu/runc.conf, or reopen the file", pid, fd});
    } else if (size > k_ghost_limit) {
        findings.push_back(
            {Effect::snap_fails, "large deleted file", fmt::format("{}, {}", label, base::human_bytes(size)),
             "CRIU saves nameless files up to 1 MiB only",
             "ghost-limit 1G in /etc/criu/runc.conf, or truncate it (often a rotated log)", pid, fd});
    }
}

struct SocketFacts {
    int domain = 0;
    int type = 0;
    int protocol = 0;
    base::Fd fd;
};

int option_of(int fd, int level, int name) {
    int value = -1;
    socklen_t size = sizeof value;
    return ::getsockopt(fd, level, name, &value, &size) == 0 ? value : -1;
}

// The very socket, borrowed from the process; nothing when the kernel or our rights do not allow it.
std::optional<SocketFacts> borrow_socket(pid_t pid, int number) {
    base::Fd process(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
    if (!process) return std::nullopt;
    SocketFacts socket;
    socket.fd = base::Fd(static_cast<int>(::syscall(SYS_pidfd_getfd, process.get(), number, 0)));
    if (!socket.fd) return std::nullopt;
    socket.domain = option_of(socket.fd.get(), SOL_SOCKET, SO_DOMAIN);
    socket.type = option_of(socket.fd.get(), SOL_SOCKET, SO_TYPE);
    socket.protocol = option_of(socket.fd.get(), SOL_SOCKET, SO_PROTOCOL);
    return socket;
}

bool is_inside_loopback(const sockaddr_storage& address) {
    if (address.ss_family == AF_INET) {
        const auto& v4 = reinterpret_cast<const sockaddr_in&>(address);
        return (ntohl(v4.sin_addr.s_addr) >> 24) == 127;
    }
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(address);
    if (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr)) return v6.sin6_addr.s6_addr[12] == 127;
    return IN6_IS_ADDR_LOOPBACK(&v6.sin6_addr) != 0;
}

void examine_tcp(pid_t pid, int number, const SocketFacts& socket, const std::string& label,
                 std::vector<ContainerFinding>& findings) {
    tcp_info info{};
    socklen_t size = sizeof info;
    if (::getsockopt(socket.fd.get(), IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return;
    // Of a listening socket the kernel counts here the connections that wait to be accepted.
    if (info.tcpi_state == k_tcp_listen && info.tcpi_unacked > 0) {
        findings.push_back({Effect::snap_fails, "connections waiting to be accepted",
                            fmt::format("{}, {} of them", label, info.tcpi_unacked),
                            "CRIU cannot dump connections that belong to no descriptor yet; most are "
                            "accepted within milliseconds",
                            "try when the server keeps up; or skip-in-flight in /etc/criu/runc.conf", pid,
                            number});
    }
    sockaddr_storage peer{};
    socklen_t length = sizeof peer;
    if (info.tcpi_state != k_tcp_established ||
        ::getpeername(socket.fd.get(), reinterpret_cast<sockaddr*>(&peer), &length) != 0 ||
        is_inside_loopback(peer)) {
        return;
    }
    findings.push_back({Effect::lost, "TCP connection to the outside", label,
                        "a snap leaves it alone; after a rewind the program finds it closed, since its other "
                        "end has moved on",
                        "nothing, when the program connects again by itself", pid, number});
}

void examine_unix(pid_t pid, int number, const SocketFacts& socket, const std::string& label,
                  const std::set<pid_t>& inside, std::vector<ContainerFinding>& findings) {
    ucred peer{};
    socklen_t size = sizeof peer;
    sockaddr_storage address{};
    socklen_t length = sizeof address;
    if (::getpeername(socket.fd.get(), reinterpret_cast<sockaddr*>(&address), &length) != 0) return;
    if (::getsockopt(socket.fd.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return;
    // Who listened or made the pair; one that has ended since tells nothing.
    if (peer.pid <= 0 || inside.contains(peer.pid) ||
        ::access(fmt::format("/proc/{}", peer.pid).c_str(), F_OK) != 0)
        return;
    findings.push_back(
        {socket.type == SOCK_DGRAM ? Effect::lost : Effect::snap_fails, "unix socket to the outside",
         fmt::format("{}, to {}", label, process_label(peer.pid)),
         "the other end lies outside the container and will not be restored",
         "do not mount the host's sockets (docker.sock, X11, D-Bus) into the container", pid, number});
}

void examine_socket(pid_t pid, int number, const std::string& target, const std::set<pid_t>& inside,
                    std::vector<ContainerFinding>& findings) {
    auto socket = borrow_socket(pid, number);
    if (!socket) return;
    std::string label = descriptor_label(pid, number, target);
    bool inet = socket->domain == AF_INET || socket->domain == AF_INET6;
    if (inet && socket->type == SOCK_STREAM && socket->protocol == IPPROTO_TCP) {
        examine_tcp(pid, number, *socket, label, findings);
    } else if (inet && socket->protocol == IPPROTO_UDP &&
               option_of(socket->fd.get(), IPPROTO_UDP, UDP_CORK) == 1) {
        findings.push_back({Effect::snap_fails, "UDP packet half built", label,
                            "CRIU cannot read what is in a corked socket", "try again", pid, number});
    } else if (socket->domain == AF_UNIX) {
        examine_unix(pid, number, *socket, label, inside, findings);
    }
    constexpr int k_udplite = 136;
    bool known_inet = socket->type == SOCK_RAW || socket->protocol == IPPROTO_TCP ||
                      socket->protocol == IPPROTO_UDP || socket->protocol == k_udplite ||
                      socket->protocol == IPPROTO_ICMP || socket->protocol == IPPROTO_ICMPV6;
    bool known = socket->domain == AF_UNIX || socket->domain == AF_NETLINK || socket->domain == AF_PACKET ||
                 (inet && known_inet);
    if (known) return;
    constexpr int k_mptcp = 262;
    bool mptcp = inet && socket->protocol == k_mptcp;
    findings.push_back({Effect::snap_fails, mptcp ? "Multipath TCP" : "socket of an unsupported kind",
                        fmt::format("{}, family {}, type {}, protocol {}", label, socket->domain,
                                    socket->type, socket->protocol),
                        "CRIU dumps TCP, UDP, ICMP, raw, unix, netlink and packet sockets only",
                        mptcp ? "for Go programs: docker run -e GODEBUG=multipathtcp=0"
                              : "close it while the snapshot is taken",
                        pid, number});
}

}  // namespace

std::string process_label(pid_t pid) {
    return fmt::format("process {} ({})", pid,
                       base::escape(base::trim(read_or_empty(fmt::format("/proc/{}/comm", pid)))));
}

std::string status_of(pid_t pid, std::string_view field) {
    return field_of(read_or_empty(fmt::format("/proc/{}/status", pid)), field);
}

void examine_descriptors(pid_t pid, const std::set<pid_t>& inside, bool thoroughly,
                         std::vector<ContainerFinding>& findings) {
    std::error_code ignored;
    for (const fs::directory_entry& entry :
         fs::directory_iterator(fmt::format("/proc/{}/fd", pid), ignored)) {
        auto number = base::parse_number(entry.path().filename().string());
        std::string target = link_or_empty(entry.path());
        if (!number || target.empty()) continue;
        int fd = static_cast<int>(*number);
        if (target.starts_with("anon_inode:")) {
            examine_object(pid, fd, target, findings);
            if (thoroughly && target == "anon_inode:inotify") examine_watches(pid, fd, findings);
        } else if (target.starts_with("socket:")) {
            if (thoroughly) examine_socket(pid, fd, target, inside, findings);
        } else if (target.starts_with('/')) {
            examine_file(pid, fd, entry.path(), target, findings);
        }
    }
}

void examine_mappings(pid_t pid, std::vector<ContainerFinding>& findings) {
    std::set<std::string> seen;
    for (const std::string& line : base::split(read_or_empty(fmt::format("/proc/{}/maps", pid)), '\n')) {
        size_t at = line.find_first_of("/[");
        std::string path = at == line.npos ? "" : line.substr(at);
        bool device =
            path.starts_with("/dev/") && !path.starts_with("/dev/zero") && !path.starts_with("/dev/shm/");
        bool secret = path.starts_with("/secretmem");
        bool probe = path == "[uprobes]";
        if ((!device && !secret && !probe) || !seen.insert(path).second) continue;
        findings.push_back({Effect::snap_fails,
                            device   ? "mapped device"
                            : secret ? "secret memory"
                                     : "uprobe",
                            fmt::format("{}, mapping {}", process_label(pid), base::escape(path)),
                            "CRIU cannot dump this mapping",
                            device   ? "stop what uses the device"
                            : secret ? "turn the use of memfd_secret off"
                                     : "remove probes (bpftrace, perf) first",
                            pid, -1});
    }
}

void examine_process(pid_t pid, pid_t init, std::vector<ContainerFinding>& findings) {
    std::string tracer = status_of(pid, "TracerPid:");
    if (!tracer.empty() && tracer != "0") {
        findings.push_back({Effect::snap_fails, "debugger",
                            fmt::format("{} is traced by process {}", process_label(pid), tracer),
                            "a process has one tracer at a time, and CRIU must be it",
                            "detach gdb or strace first", pid, -1});
    }
    for (const char* kind : {"pid", "pid_for_children", "user", "time", "time_for_children", "ipc", "uts"}) {
        std::string name = kind;
        std::string own = link_or_empty(fmt::format("/proc/{}/ns/{}", pid, kind));
        std::string base_name = name.substr(0, name.find('_'));
        std::string first = link_or_empty(fmt::format("/proc/{}/ns/{}", init, base_name));
        if (own.empty() || first.empty() || own == first) continue;
        findings.push_back(
            {Effect::snap_fails, "nested namespace",
             fmt::format("{} has made a {} namespace of its own", process_label(pid), base_name),
             "CRIU knows one of these for a container",
             "turn the sandbox off that makes it (chrome: --no-sandbox), or run inner containers on the host",
             pid, -1});
        return;
    }
}

void examine_hangs(const std::vector<pid_t>& processes, std::vector<ContainerFinding>& findings) {
    std::map<std::pair<pid_t, pid_t>, std::string> suspects;
    for (pid_t pid : processes) {
        for (pid_t thread : threads_of(pid)) {
            if (auto switches = switches_if_uninterruptible(pid, thread)) suspects[{pid, thread}] = *switches;
        }
    }
    if (suspects.empty()) return;
    std::this_thread::sleep_for(k_longest_ordinary_wait);
    std::set<pid_t> told;
    for (const auto& [id, switches] : suspects) {
        auto [pid, thread] = id;
        if (switches_if_uninterruptible(pid, thread) != switches || !told.insert(pid).second) continue;
        findings.push_back(
            {Effect::snap_fails, "hangs in the kernel",
             process_label(pid) +
                 (thread == pid ? " is in state D" : fmt::format(" has thread {} in state D", thread)),
             "it may not come to rest when it is frozen",
             fmt::format("see what it waits for: /proc/{}/task/{}/stack", pid, thread), pid, -1});
    }
}

}  // namespace cprewind::engine

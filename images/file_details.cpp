// Turns the parts of files.img that only few views need into plain values.
#include "images/file_details.h"

#include "images/proto/files.pb.h"
#include "images/task_details.h"

namespace cprewind::images {

namespace {

constexpr uint64_t k_nano = 1'000'000'000;

SocketDetails read_options(const criu::sk_opts_entry& opts) {
    SocketDetails out;
    out.send_buffer_bytes = opts.so_sndbuf();
    out.receive_buffer_bytes = opts.so_rcvbuf();
    out.bound_device = opts.so_bound_dev();
    out.has_packet_filter = opts.so_filter_size() > 0;
    auto add = [&](bool set, const char* name) {
        if (set) out.options.emplace_back(name);
    };
    add(opts.reuseaddr(), "reuseaddr");
    add(opts.so_reuseport(), "reuseport");
    add(opts.so_keepalive(), "keepalive");
    add(opts.so_broadcast(), "broadcast");
    add(opts.so_passcred(), "passcred");
    add(opts.so_passsec(), "passsec");
    add(opts.so_dontroute(), "dontroute");
    add(opts.so_oobinline() != 0, "oobinline");
    add(opts.so_linger() != 0, "linger");
    add(opts.so_mark() != 0, "mark");
    return out;
}

template <typename Entry>
SocketDetails read_socket(const Entry& entry) {
    SocketDetails out = read_options(entry.opts());
    if (entry.has_ns_id()) out.net_ns = entry.ns_id();
    return out;
}

SocketDetails read_inet(const criu::inet_sk_entry& entry) {
    SocketDetails out = read_socket(entry);
    out.shutdown = static_cast<uint32_t>(entry.shutdown());
    if (entry.v6only()) out.options.emplace_back("v6only");
    if (entry.ip_opts().freebind()) out.options.emplace_back("freebind");
    if (entry.tcp_opts().nodelay()) out.options.emplace_back("nodelay");
    if (entry.tcp_opts().cork()) out.options.emplace_back("cork");
    if (out.bound_device.empty()) out.bound_device = entry.ifname();
    return out;
}

SocketDetails read_unix(const criu::unix_sk_entry& entry) {
    SocketDetails out = read_socket(entry);
    out.shutdown = static_cast<uint32_t>(entry.shutdown());
    if (!entry.has_file_perms()) return out;
    out.mode = entry.file_perms().mode();
    out.uid = entry.file_perms().uid();
    out.gid = entry.file_perms().gid();
    return out;
}

SocketDetails read_netlink(const criu::netlink_sk_entry& entry) {
    SocketDetails out = read_socket(entry);
    out.protocol = entry.protocol();
    out.state = entry.state();
    out.port = entry.portid();
    // A bit map of groups, in words.
    constexpr int k_words = 32;
    for (int word = 0; word < entry.groups_size() && word < k_words; ++word) {
        for (uint32_t bit = 0; bit < 32; ++bit) {
            if ((entry.groups(word) >> bit & 1) != 0)
                out.groups.push_back(static_cast<uint32_t>(word) * 32 + bit + 1);
        }
    }
    return out;
}

SocketDetails read_packet(const criu::packet_sock_entry& entry) {
    SocketDetails out = read_socket(entry);
    out.protocol = entry.protocol();
    out.type = entry.type();
    out.interface = entry.ifindex();
    return out;
}

void read_watches(const criu::file_entry& entry, FileDetails& out) {
    for (const auto& watch : entry.ify().wd()) {
        out.watches.push_back(
            {watch.wd(), watch.mask(), watch.i_ino(), watch.s_dev(), watch.f_handle().path()});
    }
    for (const auto& mark : entry.ffy().mark()) {
        Watch watch;
        watch.mask = mark.mask();
        watch.device = mark.s_dev();
        watch.inode = mark.ie().i_ino();
        watch.path = mark.has_ie() ? mark.ie().f_handle().path() : mark.me().path();
        out.watches.push_back(watch);
    }
}

const criu::fown_entry* owner_of(const criu::file_entry& entry) {
    if (entry.has_reg()) return &entry.reg().fown();
    if (entry.has_pipe()) return &entry.pipe().fown();
    if (entry.has_isk()) return &entry.isk().fown();
    if (entry.has_usk()) return &entry.usk().fown();
    if (entry.has_tty()) return &entry.tty().fown();
    return nullptr;
}

}  // namespace

FileDetails read_file_details(const criu::file_entry& entry) {
    FileDetails out;
    if (const criu::fown_entry* owner = owner_of(entry)) {
        out.owner_signal = owner->signum();
        out.owner_pid = owner->pid();
    }
    if (entry.has_reg() && entry.reg().has_mnt_id()) out.mount_id = entry.reg().mnt_id();
    if (entry.has_efd()) out.counter = entry.efd().counter();
    if (entry.has_sgfd()) out.signals = entry.sgfd().sigmask();
    for (const auto& target : entry.epfd().tfd()) {
        EpollTarget made{target.tfd(), target.events(), target.data(), {}};
        if (target.has_inode()) made.inode = target.inode();
        out.epoll.push_back(made);
    }
    read_watches(entry, out);
    if (entry.has_tfd()) {
        const criu::timerfd_entry& timer = entry.tfd();
        out.timer = TimerFd{timer.clockid(), timer.ticks(), join_time(timer.vsec(), timer.vnsec(), k_nano),
                            join_time(timer.isec(), timer.insec(), k_nano)};
    }
    if (entry.has_isk()) out.socket = read_inet(entry.isk());
    if (entry.has_usk()) out.socket = read_unix(entry.usk());
    constexpr uint32_t k_external = 1;  // USK_EXTERN of criu/sk-unix.c
    out.is_external = (entry.usk().uflags() & k_external) != 0;
    if (entry.has_nlsk()) out.socket = read_netlink(entry.nlsk());
    if (entry.has_psk()) out.socket = read_packet(entry.psk());
    if (entry.has_tty()) out.tty_id = entry.tty().tty_info_id();
    if (entry.has_tty() && entry.tty().has_regf_id()) out.path_id = entry.tty().regf_id();
    if (entry.has_fifo() && entry.fifo().has_regf_id()) out.path_id = entry.fifo().regf_id();
    if (entry.has_pidfd()) out.pid = entry.pidfd().nspid();
    return out;
}

}  // namespace cprewind::images

// The particulars of an open file that belong to its kind alone. Plain values, filled by file_details.cpp.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace cprewind::criu {
class file_entry;
}

namespace cprewind::images {

struct EpollTarget {
    uint32_t fd = 0;
    uint32_t events = 0;  // EPOLL*
    uint64_t data = 0;
    std::optional<uint64_t> inode;
};

// A watch of inotify, or a mark of fanotify.
struct Watch {
    std::optional<uint32_t> descriptor;  // inotify
    uint32_t mask = 0;                   // IN_* or FAN_*
    uint64_t inode = 0;                  // 0: a mark on a mount
    uint32_t device = 0;
    std::string path;  // when CRIU found it
};

struct TimerFd {
    uint32_t clock = 0;
    uint64_t ticks = 0;  // expirations not yet read
    uint64_t left_ns = 0;
    uint64_t interval_ns = 0;
};

// What sockets of all families may have.
struct SocketDetails {
    std::optional<uint32_t> net_ns;
    uint32_t send_buffer_bytes = 0;
    uint32_t receive_buffer_bytes = 0;
    uint32_t shutdown = 0;  // bit 0: for reading, bit 1: for writing
    std::string bound_device;
    std::vector<std::string> options;  // "reuseaddr", "keepalive", "nodelay", …
    bool has_packet_filter = false;
    // The file that a Unix socket is bound to.
    std::optional<uint32_t> mode, uid, gid;
    // Netlink and packet sockets, which have no Socket in the model.
    std::optional<uint32_t> protocol, state, type, interface, port;
    std::vector<uint32_t> groups;
};

// Whose controlling terminal it is; both 0: nobody's.
struct Terminal {
    uint32_t session = 0;
    uint32_t foreground_group = 0;
};

struct FileDetails {
    std::optional<int32_t> mount_id;
    uint32_t owner_signal = 0;        // F_SETSIG
    uint32_t owner_pid = 0;           // F_SETOWN
    std::optional<uint64_t> counter;  // eventfd
    std::optional<uint64_t> signals;  // signalfd; bit n - 1: signal n
    std::vector<EpollTarget> epoll;
    std::vector<Watch> watches;
    std::optional<TimerFd> timer;
    std::optional<SocketDetails> socket;
    std::optional<uint32_t> tty_id;  // in tty-info.img, tty-data.img
    std::optional<Terminal> terminal;
    std::optional<int32_t> pid;       // pidfd: its process, negative when that is gone
    std::optional<uint32_t> path_id;  // fifo, terminal: the regular file that has its path
    bool is_external = false;         // a Unix socket of no process in the dump
};

FileDetails read_file_details(const criu::file_entry& entry);

}  // namespace cprewind::images

#include "inspect/sockets.h"

#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <tuple>

#include "images/queues.h"
#include "inspect/names.h"

namespace cprewind::inspect {

namespace {

// TCP_* of the kernel, which all families use.
constexpr uint32_t k_established = 1, k_close = 7, k_listen = 10;

std::string protocol_of(const images::Socket& socket) {
    switch (socket.protocol) {
        case IPPROTO_TCP:
            return "tcp";
        case IPPROTO_UDP:
            return "udp";
        case IPPROTO_UDPLITE:
            return "udplite";
        case IPPROTO_ICMP:
            return "icmp";
        case IPPROTO_ICMPV6:
            return "icmp6";
        case IPPROTO_SCTP:
            return "sctp";
        default:
            return fmt::format("{}", socket.protocol);
    }
}

// "0.0.0.0:0" and "[::]:0" are not bound.
bool is_bound(const std::string& local) {
    return !local.empty() && !local.ends_with(":0");
}

void fill_addressed(const images::Socket& socket, SocketRow& row) {
    row.inode = socket.inode;
    row.family = family_name(socket.family);
    row.type = socket_type_name(socket.type);
    row.local = socket.local;
    row.remote = socket.remote;
    row.backlog = socket.backlog;
    row.peer_inode = socket.peer_inode;
    bool is_unix = socket.family == AF_UNIX;
    row.protocol = is_unix ? "unix" : protocol_of(socket);
    bool stateful = is_unix || socket.protocol == IPPROTO_TCP;
    bool says_something = socket.state == k_established || socket.state == k_close;
    if (stateful || !says_something || !socket.remote.empty())
        row.state = images::socket_state_name(socket.state);
    row.listening = stateful
                        ? socket.state == k_listen
                        : socket.protocol == IPPROTO_UDP && socket.remote.empty() && is_bound(socket.local);
}

bool fill_row(const images::File& file, SocketRow& row) {
    row.file_id = file.id;
    row.inode = file.object;
    if (file.details.socket) row.details = *file.details.socket;
    if (file.kind == images::FileKind::netlink_socket) {
        row.family = "netlink";
        row.type = "dgram";
        row.protocol = netlink_name(row.details.protocol.value_or(0));
        row.local = fmt::format("port {}", row.details.port.value_or(0));
        row.groups = row.details.groups;
        return true;
    }
    if (file.kind == images::FileKind::packet_socket) {
        row.family = "packet";
        row.type = socket_type_name(row.details.type.value_or(0));
        row.protocol = fmt::format("{:#06x}", row.details.protocol.value_or(0));
        row.local = fmt::format("interface {}", row.details.interface.value_or(0));
        return true;
    }
    if (!file.socket) return false;
    fill_addressed(*file.socket, row);
    return true;
}

}  // namespace

SocketView list_sockets(Moment moment) {
    SocketView view;
    Holders holders = find_holders(moment.checkpoint);
    OtherEnds ends(moment.checkpoint);
    std::map<uint64_t, size_t> by_inode, by_file;
    for (const auto& [id, file] : moment.checkpoint.files) {
        SocketRow row;
        if (!fill_row(file, row)) continue;
        auto held = holders.find(id);
        if (held != holders.end()) row.holders = held->second;
        for (const images::File* other : ends.of(file)) {
            auto theirs = holders.find(other->id);
            if (theirs != holders.end())
                row.peers.insert(row.peers.end(), theirs->second.begin(), theirs->second.end());
            if (row.remote.empty() && other->socket && row.peer_inode != 0) row.remote = other->socket->local;
        }
        by_file[id] = view.rows.size();
        by_inode[row.inode] = view.rows.size();
        view.rows.push_back(std::move(row));
    }
    // A connection within the checkpoint: both ends have each other's addresses.
    std::map<std::pair<std::string, std::string>, size_t> by_addresses;
    auto is_connected = [](const SocketRow& row) {
        return row.family.starts_with("inet") && !row.remote.empty();
    };
    for (size_t i = 0; i < view.rows.size(); ++i) {
        if (is_connected(view.rows[i])) by_addresses[{view.rows[i].local, view.rows[i].remote}] = i;
    }
    for (SocketRow& row : view.rows) {
        auto other = is_connected(row) ? by_addresses.find({row.remote, row.local}) : by_addresses.end();
        if (other != by_addresses.end() && view.rows[other->second].protocol == row.protocol)
            row.peers = view.rows[other->second].holders;
    }
    for (const images::Queue& queue : images::load_queues(moment.source, view.findings)) {
        bool packet = queue.kind == images::QueueKind::packet;
        bool tcp = queue.kind == images::QueueKind::tcp_in || queue.kind == images::QueueKind::tcp_out;
        if (!packet && !tcp) continue;
        const auto& index = packet ? by_file : by_inode;
        auto found = index.find(queue.object);
        if (found == index.end()) {
            images::add_finding(view.findings,
                                {images::FindingKind::damaged, queue.image, queue.offset,
                                 fmt::format("{} bytes for the socket {}, which no image describes",
                                             queue.size, queue.object)});
            continue;
        }
        SocketRow& row = view.rows[found->second];
        (queue.kind == images::QueueKind::tcp_out ? row.send_queue_bytes : row.receive_queue_bytes) +=
            queue.size;
        if (packet) ++row.receive_packets;
    }
    std::stable_sort(view.rows.begin(), view.rows.end(), [](const SocketRow& a, const SocketRow& b) {
        return std::tie(a.family, a.protocol, a.local, a.remote) <
               std::tie(b.family, b.protocol, b.local, b.remote);
    });
    return view;
}

}  // namespace cprewind::inspect

// All sockets, open or in flight, with who has them, whom they talk to, and what waits in them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "inspect/holders.h"
#include "inspect/moment.h"

namespace cprewind::inspect {

struct SocketRow {
    uint32_t file_id = 0;
    uint64_t inode = 0;
    std::string family;    // "inet", "inet6", "unix", "netlink", "packet"
    std::string type;      // "stream", "dgram", …
    std::string protocol;  // "tcp", "udp", "route", …
    std::string state;     // "LISTEN", …; "" where the family has none
    std::string local;
    std::string remote;
    uint64_t peer_inode = 0;           // Unix
    std::vector<Holder> holders;       // none: nobody but a queue has it
    std::vector<Holder> peers;         // who has the other end, in this checkpoint
    uint64_t receive_queue_bytes = 0;  // waiting to be read
    uint64_t send_queue_bytes = 0;     // TCP: written and not acknowledged
    uint64_t receive_packets = 0;      // Unix: packets that wait
    uint32_t backlog = 0;
    std::vector<uint32_t> groups;  // netlink
    images::SocketDetails details;
    bool listening = false;  // TCP and Unix in LISTEN; UDP bound and not connected
};

struct SocketView {
    std::vector<SocketRow> rows;  // by family, then local address
    images::Findings findings;
};

SocketView list_sockets(Moment moment);

}  // namespace cprewind::inspect

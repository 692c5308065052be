// A network namespace as CRIU dumped it: devices (netdev-<id>.img), and what it let iproute2 and iptables save.
//
//   ifaddr, route, route6, rule = magic u32, then netlink messages as the kernel sends them
//   iptables, ip6tables, nftables = the text of iptables-save, nft list ruleset
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "images/finding.h"
#include "images/image_source.h"

namespace cprewind::images {

struct NetDevice {
    uint64_t net_ns = 0;
    uint32_t index = 0;
    std::string kind;  // "loopback", "veth", …
    std::string name;
    uint32_t mtu = 0;
    uint32_t flags = 0;   // IFF_*
    std::string address;  // hardware, "02:42:ac:11:00:02"
    std::optional<uint32_t> peer_index, master;
};
struct NetAddress {
    uint64_t net_ns = 0;
    uint32_t index = 0;  // of the device
    std::string label;
    std::string address;  // "172.17.0.2/16"
};
struct NetRoute {
    uint64_t net_ns = 0;
    std::string destination;  // "default", "172.17.0.0/16"
    std::string gateway;
    std::string source;
    std::optional<uint32_t> device;  // index
    std::optional<uint32_t> metric;
    uint32_t table = 0;
    uint32_t type = 0;  // RTN_*
};
struct FirewallText {
    uint64_t net_ns = 0;
    std::string kind;  // "iptables", "ip6tables", "nftables"
    std::string text;
};
struct Network {
    std::vector<NetDevice> devices;
    std::vector<NetAddress> addresses;
    std::vector<NetRoute> routes;
    std::vector<FirewallText> firewalls;
    bool found = false;  // any image of networks was there
};

Network load_network(const ImageSource& source, Findings& findings);

}  // namespace cprewind::images

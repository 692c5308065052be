#include "images/network.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <linux/rtnetlink.h>

#include <algorithm>
#include <cstring>
#include <map>

#include "base/bytes.h"
#include "base/error.h"
#include "base/fd.h"
#include "images/image_kinds.h"
#include "images/image_reader.h"
#include "images/proto/namespaces.pb.h"

namespace cprewind::images {

namespace {

// What a container's tables come to, many times over.
constexpr uint64_t k_raw_limit = 16u << 20;

// First words of the files that `ip address save`, `ip route save` and `ip rule save` write.
constexpr uint32_t k_address_magic = 0x47361222;
constexpr uint32_t k_route_magic = 0x45311224;
constexpr uint32_t k_rule_magic = 0x71706986;

using Attributes = std::map<uint16_t, std::string_view>;

const char* kind_name(criu::nd_type type) {
    switch (type) {
        case criu::LOOPBACK:
            return "loopback";
        case criu::VETH:
            return "veth";
        case criu::TUN:
            return "tun";
        case criu::EXTLINK:
            return "external";
        case criu::VENET:
            return "venet";
        case criu::BRIDGE:
            return "bridge";
        case criu::MACVLAN:
            return "macvlan";
        case criu::SIT:
            return "sit";
    }
    return "unknown";
}

std::string hardware_address(std::string_view bytes) {
    std::string out;
    for (char byte : bytes)
        out += fmt::format("{}{:02x}", out.empty() ? "" : ":", static_cast<unsigned char>(byte));
    return out;
}

std::string address_text(uint8_t family, std::string_view bytes) {
    char text[INET6_ADDRSTRLEN] = "";
    size_t needed = family == AF_INET6 ? 16 : 4;
    if (bytes.size() < needed || inet_ntop(family, bytes.data(), text, sizeof(text)) == nullptr) return "?";
    return text;
}

void read_devices(const ImageSource& source, const std::string& name, const NamedKind& named, Network& out,
                  Findings& findings) {
    auto reader = ImageReader::open(source, name, *named.kind, findings);
    criu::net_device_entry entry;
    while (reader && reader->next(entry)) {
        NetDevice device;
        device.net_ns = named.number;
        device.index = entry.ifindex();
        device.kind = entry.has_type() ? kind_name(entry.type()) : "unknown";
        device.name = entry.name();
        device.mtu = entry.mtu();
        device.flags = entry.flags();
        device.address = hardware_address(entry.address());
        if (entry.has_peer_ifindex()) device.peer_index = entry.peer_ifindex();
        if (entry.has_master()) device.master = entry.master();
        out.devices.push_back(std::move(device));
    }
}

// The value of a fixed structure at the front of `cursor`, which moves on, aligned.
template <typename T>
std::optional<T> take(base::Cursor& cursor) {
    auto bytes = cursor.bytes(NLMSG_ALIGN(sizeof(T)));
    if (!bytes) return std::nullopt;
    T value;
    std::memcpy(&value, bytes->data(), sizeof(T));
    return value;
}

Attributes attributes_of(base::Cursor cursor) {
    Attributes out;
    while (auto head = take<rtattr>(cursor)) {
        if (head->rta_len < sizeof(rtattr)) break;
        uint64_t size = head->rta_len - sizeof(rtattr);
        auto value = cursor.bytes(size);
        if (!value) break;
        out[head->rta_type] = base::as_text(*value);
        cursor.bytes(std::min<uint64_t>(RTA_ALIGN(size) - size, cursor.left()));
    }
    return out;
}

std::optional<uint32_t> word(const Attributes& attributes, uint16_t type) {
    auto found = attributes.find(type);
    if (found == attributes.end()) return std::nullopt;
    return base::Cursor(base::as_bytes(found->second)).integer<uint32_t>();
}

void add_address(base::Cursor body, uint64_t net_ns, Network& out) {
    auto head = take<ifaddrmsg>(body);
    if (!head) return;
    Attributes attributes = attributes_of(body);
    NetAddress address{net_ns, head->ifa_index, {}, {}};
    auto label = attributes.find(IFA_LABEL);
    if (label != attributes.end()) address.label = label->second.substr(0, label->second.find('\0'));
    auto found = attributes.find(IFA_LOCAL);
    if (found == attributes.end()) found = attributes.find(IFA_ADDRESS);
    if (found == attributes.end()) return;
    address.address =
        fmt::format("{}/{}", address_text(head->ifa_family, found->second), head->ifa_prefixlen);
    out.addresses.push_back(std::move(address));
}

void add_route(base::Cursor body, uint64_t net_ns, Network& out) {
    auto head = take<rtmsg>(body);
    if (!head) return;
    Attributes attributes = attributes_of(body);
    auto text = [&](uint16_t type) {
        auto found = attributes.find(type);
        return found == attributes.end() ? std::string() : address_text(head->rtm_family, found->second);
    };
    NetRoute route;
    route.net_ns = net_ns;
    std::string destination = text(RTA_DST);
    route.destination =
        destination.empty() ? "default" : fmt::format("{}/{}", destination, head->rtm_dst_len);
    route.gateway = text(RTA_GATEWAY);
    route.source = text(RTA_PREFSRC);
    route.device = word(attributes, RTA_OIF);
    route.metric = word(attributes, RTA_PRIORITY);
    route.table = word(attributes, RTA_TABLE).value_or(head->rtm_table);
    route.type = head->rtm_type;
    out.routes.push_back(std::move(route));
}

std::optional<std::string> read_raw(const ImageSource& source, const std::string& name, Findings& findings) {
    try {
        auto content = read_whole(source, name, k_raw_limit);
        if (content) return std::move(*content);
    } catch (const base::Error& error) {
        add_finding(findings, {FindingKind::unverified, name, {}, "not read: " + error.message()});
    }
    return std::nullopt;
}

// What a file of this kind begins with; conntrack's are messages from the first byte.
std::optional<uint32_t> magic_of(std::string_view kind) {
    if (kind == "IFADDR") return k_address_magic;
    if (kind == "ROUTE" || kind == "ROUTE6") return k_route_magic;
    if (kind == "RULE") return k_rule_magic;
    return std::nullopt;
}

void read_messages(const std::string& name, const std::string& content, const NamedKind& named, Network& out,
                   Findings& findings) {
    std::string_view kind = named.kind->name;
    uint64_t net_ns = named.number;
    if (content.empty()) {
        // Without IPv6 its routes are an empty file; some tools know no rules to save.
        if (kind == "IFADDR" || kind == "ROUTE")
            add_finding(findings, {FindingKind::empty, name, {}, "the file has no bytes, not even a head"});
        return;
    }
    base::Cursor cursor(base::as_bytes(content));
    auto magic = magic_of(kind);
    if (magic && cursor.integer<uint32_t>() != *magic) {
        add_finding(findings,
                    {FindingKind::damaged, name, 0, fmt::format("it does not begin with {:#x}", *magic)});
        return;
    }
    while (!cursor.at_end()) {
        uint64_t offset = cursor.offset();
        auto head = take<nlmsghdr>(cursor);
        if (!head || head->nlmsg_len < sizeof(nlmsghdr) ||
            head->nlmsg_len - sizeof(nlmsghdr) > cursor.left()) {
            add_finding(findings, {FindingKind::truncated, name, offset, "a netlink message is cut off"});
            return;
        }
        uint64_t size = head->nlmsg_len - sizeof(nlmsghdr);
        base::Cursor body(*cursor.bytes(size));
        cursor.bytes(std::min<uint64_t>(NLMSG_ALIGN(size) - size, cursor.left()));
        if (head->nlmsg_type == RTM_NEWADDR) add_address(body, net_ns, out);
        if (head->nlmsg_type == RTM_NEWROUTE) add_route(body, net_ns, out);
    }
}

}  // namespace

Network load_network(const ImageSource& source, Findings& findings) {
    Network out;
    for (const std::string& name : source.list()) {
        auto found = find_image_kind(name);
        if (!found) continue;
        std::string_view kind = found->kind->name;
        if (kind == "NETDEV") {
            read_devices(source, name, *found, out, findings);
        } else if (magic_of(kind) || kind == "NETNS_CT" || kind == "NETNS_EXP") {
            auto content = read_raw(source, name, findings);
            if (content) read_messages(name, *content, *found, out, findings);
        } else if (kind == "IPTABLES" || kind == "IP6TABLES" || kind == "NFTABLES") {
            auto content = read_raw(source, name, findings);
            std::string shown = kind == "IPTABLES"   ? "iptables"
                                : kind == "NFTABLES" ? "nftables"
                                                     : "ip6tables";
            if (content && !content->empty() && content->back() != '\n')
                add_finding(findings,
                            {FindingKind::truncated, name, content->size(), "its last line is cut off"});
            if (content && !content->empty())
                out.firewalls.push_back({found->number, std::move(shown), std::move(*content)});
        } else if (kind != "NETNS") {
            continue;
        }
        out.found = true;
    }
    return out;
}

}  // namespace cprewind::images

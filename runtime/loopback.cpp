#include "runtime/loopback.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/ipv6.h>
#include <net/if.h>
#include <net/route.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/fd.h"

namespace cprewind::runtime {
namespace {

// By this metric, which nobody else uses, the default route is known as ours.
constexpr short k_metric = 27753;

base::Fd open_socket(int family) {
    return base::Fd(::socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
}

void enter_network(pid_t pid) {
    base::Fd space = base::open_file(fmt::format("/proc/{}/ns/net", pid), O_RDONLY);
    if (::setns(space.get(), CLONE_NEWNET) != 0)
        base::throw_errno(errno, "enter the container's network namespace");
}

sockaddr_in ipv4(in_addr_t address) {
    sockaddr_in name{};
    name.sin_family = AF_INET;
    name.sin_addr.s_addr = address;
    return name;
}

template <typename To>
void put(To& to, const sockaddr_in& name) {
    static_assert(sizeof(to) >= sizeof(name));
    std::memcpy(&to, &name, sizeof(name));
}

bool change_default_route_v4(int socket, unsigned long request) {
    char device[] = "lo";
    rtentry route{};
    put(route.rt_dst, ipv4(INADDR_ANY));
    put(route.rt_genmask, ipv4(INADDR_ANY));
    route.rt_flags = RTF_UP;
    route.rt_metric = k_metric + 1;  // the kernel takes one off
    route.rt_dev = device;
    return ::ioctl(socket, request, &route) == 0;
}

bool change_default_route_v6(int socket, unsigned long request) {
    in6_rtmsg route{};
    route.rtmsg_flags = RTF_UP;
    route.rtmsg_metric = k_metric;
    route.rtmsg_ifindex = static_cast<int>(::if_nametoindex("lo"));
    return ::ioctl(socket, request, &route) == 0;
}

// IPv4 knows no "remove this address": each gets a label of its own ("lo:3"), and what is down by its label is gone.
ifreq labelled(size_t number) {
    ifreq request{};
    fmt::format_to_n(request.ifr_name, sizeof(request.ifr_name) - 1, "lo:{}", number);
    return request;
}

void add_v4(int socket, size_t number, in_addr address) {
    ifreq request = labelled(number);
    put(request.ifr_addr, ipv4(address.s_addr));
    if (::ioctl(socket, SIOCSIFADDR, &request) != 0) return;
    // Without it an address of 172.17.0.3 would claim all of 172.0.0.0/8.
    put(request.ifr_netmask, ipv4(INADDR_NONE));
    ::ioctl(socket, SIOCSIFNETMASK, &request);
}

void remove_v4(int socket, size_t number) {
    ifreq request = labelled(number);
    request.ifr_flags = 0;
    ::ioctl(socket, SIOCSIFFLAGS, &request);
}

void change_v6(int socket, unsigned long request, const in6_addr& address) {
    in6_ifreq change{};
    change.ifr6_addr = address;
    change.ifr6_prefixlen = 128;
    change.ifr6_ifindex = static_cast<int>(::if_nametoindex("lo"));
    ::ioctl(socket, request, &change);
}

// Calls one of the two for each address that is one, with its place in the list.
template <typename V4, typename V6>
void each_address(std::span<const std::string> addresses, V4 v4, V6 v6) {
    for (size_t i = 0; i < addresses.size(); ++i) {
        in_addr four{};
        in6_addr six{};
        if (::inet_pton(AF_INET, addresses[i].c_str(), &four) == 1) {
            v4(i, four);
        } else if (::inet_pton(AF_INET6, addresses[i].c_str(), &six) == 1) {
            v6(six);
        }
    }
}

pid_t pid_in_state() {
    std::string text(1u << 20, '\0');
    text.resize(
        base::read_full(STDIN_FILENO, std::as_writable_bytes(std::span(text)), "the container's state"));
    auto state = nlohmann::json::parse(text, nullptr, false);
    auto pid = state.is_object() ? state.find("pid") : state.end();
    if (!state.is_object() || pid == state.end() || !pid->is_number_integer() || pid->get<int64_t>() <= 0) {
        throw base::Error(base::ErrorKind::failed, "the container's state names no pid");
    }
    return static_cast<pid_t>(pid->get<int64_t>());
}

}  // namespace

void raise_loopback(std::span<const std::string> addresses) {
    enter_network(pid_in_state());
    base::Fd socket = open_socket(AF_INET);
    if (!socket) base::throw_errno(errno, "open a socket");
    ifreq request{};
    std::strcpy(request.ifr_name, "lo");
    if (::ioctl(socket.get(), SIOCGIFFLAGS, &request) != 0) base::throw_errno(errno, "read the flags of lo");
    if ((request.ifr_flags & IFF_UP) != 0) return;
    request.ifr_flags = static_cast<short>(request.ifr_flags | IFF_UP);
    if (::ioctl(socket.get(), SIOCSIFFLAGS, &request) != 0) base::throw_errno(errno, "raise lo");
    if (addresses.empty()) return;

    // From here on nothing is worth failing for: where it matters, CRIU says what it could not do.
    change_default_route_v4(socket.get(), SIOCADDRT);
    base::Fd socket_v6 = open_socket(AF_INET6);  // none where IPv6 is off
    if (socket_v6) change_default_route_v6(socket_v6.get(), SIOCADDRT);
    each_address(
        addresses, [&](size_t i, in_addr address) { add_v4(socket.get(), i, address); },
        [&](const in6_addr& address) { change_v6(socket_v6.get(), SIOCSIFADDR, address); });
}

void lower_loopback(pid_t pid, std::span<const std::string> addresses) {
    enter_network(pid);
    base::Fd socket = open_socket(AF_INET);
    // Only where the route was ours are the addresses.
    if (!socket || !change_default_route_v4(socket.get(), SIOCDELRT)) return;
    base::Fd socket_v6 = open_socket(AF_INET6);
    if (socket_v6) change_default_route_v6(socket_v6.get(), SIOCDELRT);
    each_address(
        addresses, [&](size_t i, in_addr) { remove_v4(socket.get(), i); },
        [&](const in6_addr& address) { change_v6(socket_v6.get(), SIOCDIFADDR, address); });
}

}  // namespace cprewind::runtime

#include "engine/connections.h"

#include <sys/socket.h>

#include <map>
#include <set>
#include <utility>

namespace cprewind::engine {
namespace {

constexpr uint32_t k_listen = 10;  // TCP_LISTEN, include/net/tcp_states.h

// "[::ffff:172.17.0.2]:80" and "172.17.0.2:80" are one place: a server that listens on both families sees the former.
std::string plain(const std::string& endpoint) {
    constexpr std::string_view k_mapped = "[::ffff:";
    size_t end = endpoint.find(']');
    if (!endpoint.starts_with(k_mapped) || end == std::string::npos || endpoint.find('.') > end)
        return endpoint;
    return endpoint.substr(k_mapped.size(), end - k_mapped.size()) + endpoint.substr(end + 1);
}

// Without port and brackets.
std::string address_of(const std::string& endpoint) {
    std::string text = plain(endpoint);
    text.resize(text.rfind(':') == std::string::npos ? 0 : text.rfind(':'));
    if (text.starts_with('[') && text.ends_with(']')) text = text.substr(1, text.size() - 2);
    return text;
}

bool is_loopback(const std::string& address) {
    return address.starts_with("127.") || address == "::1";
}
bool is_wildcard(const std::string& address) {
    return address == "0.0.0.0" || address == "::";
}

}  // namespace

std::vector<const images::File*> outside_connections(const images::Checkpoint& checkpoint) {
    std::map<std::pair<std::string, std::string>, const images::File*> connections;
    for (const auto& [id, file] : checkpoint.files) {
        if (!file.socket || file.kind != images::FileKind::inet_socket) continue;
        const images::Socket& socket = *file.socket;
        if (socket.type != SOCK_STREAM || socket.state == k_listen || socket.remote.empty()) continue;
        std::string remote = address_of(socket.remote);
        if (is_loopback(remote) || is_wildcard(remote)) continue;
        connections.emplace(std::pair(plain(socket.local), plain(socket.remote)), &file);
    }
    std::vector<const images::File*> outside;
    for (const auto& [ends, file] : connections) {
        if (!connections.contains({ends.second, ends.first})) outside.push_back(file);
    }
    return outside;
}

bool talks_to_outside(const images::Checkpoint& checkpoint) {
    return !outside_connections(checkpoint).empty();
}

std::vector<std::string> own_addresses(const images::Checkpoint& checkpoint) {
    std::set<std::string> addresses;
    for (const auto& [id, file] : checkpoint.files) {
        if (!file.socket || file.kind != images::FileKind::inet_socket) continue;
        std::string address = address_of(file.socket->local);
        // A link-local address belongs to an interface, and there is none yet.
        if (address.empty() || address == "?" || address.starts_with("fe80:") || is_loopback(address) ||
            is_wildcard(address))
            continue;
        addresses.insert(address);
    }
    return {addresses.begin(), addresses.end()};
}

}  // namespace cprewind::engine

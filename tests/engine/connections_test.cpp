// Which connections of a dump can go on, and which addresses their sockets need.
#include "engine/connections.h"

#include <sys/socket.h>

#include <catch2/catch_test_macros.hpp>

using namespace cprewind;
using engine::own_addresses;
using engine::talks_to_outside;

namespace {

constexpr uint32_t k_established = 1;
constexpr uint32_t k_listen = 10;

images::Checkpoint with(std::vector<images::Socket> sockets) {
    images::Checkpoint checkpoint;
    uint32_t id = 0;
    for (images::Socket& socket : sockets) {
        images::File file;
        file.id = ++id;
        file.kind = images::FileKind::inet_socket;
        file.socket = std::move(socket);
        checkpoint.files[id] = std::move(file);
    }
    return checkpoint;
}

images::Socket tcp(const char* local, const char* remote, uint32_t state = k_established) {
    images::Socket socket;
    socket.family = AF_INET;
    socket.type = SOCK_STREAM;
    socket.state = state;
    socket.local = local;
    socket.remote = remote;
    return socket;
}

images::Socket udp(const char* local, const char* remote) {
    images::Socket socket = tcp(local, remote);
    socket.type = SOCK_DGRAM;
    return socket;
}

}  // namespace

TEST_CASE("a connection whose both ends are in the dump is inside, whatever its address") {
    CHECK_FALSE(talks_to_outside(with({})));
    CHECK_FALSE(talks_to_outside(with({tcp("0.0.0.0:80", "", k_listen)})));
    CHECK_FALSE(talks_to_outside(with({tcp("127.0.0.1:4000", "127.0.0.1:80")})));
    CHECK_FALSE(talks_to_outside(with({tcp("[::1]:4000", "[::1]:80")})));
    CHECK_FALSE(talks_to_outside(
        with({tcp("172.17.0.2:4000", "172.17.0.2:80"), tcp("172.17.0.2:80", "172.17.0.2:4000")})));
    CHECK_FALSE(talks_to_outside(with({tcp("172.17.0.2:4000", "172.17.0.2:80"),
                                       tcp("[::ffff:172.17.0.2]:80", "[::ffff:172.17.0.2]:4000")})));
    CHECK_FALSE(talks_to_outside(with({udp("172.17.0.2:4000", "172.17.0.3:80")})));

    CHECK(talks_to_outside(with({tcp("172.17.0.2:4000", "172.17.0.3:80")})));
    CHECK(talks_to_outside(with({tcp("[::ffff:172.17.0.2]:80", "[::ffff:172.17.0.9]:4000")})));
    CHECK(talks_to_outside(with({tcp("172.17.0.2:4000", "172.17.0.2:80")})));
    CHECK(talks_to_outside(
        with({tcp("172.17.0.2:4000", "172.17.0.2:80"), tcp("172.17.0.2:80", "172.17.0.2:4001")})));
}

TEST_CASE("the addresses that sockets are bound to, each once, without those that every loopback has") {
    CHECK(own_addresses(with({tcp("0.0.0.0:80", "", k_listen), tcp("[::]:80", "", k_listen),
                              tcp("127.0.0.1:4000", "127.0.0.1:80"), udp("[::1]:53", ""),
                              udp("[fe80::1]:53", ""), udp("?:53", ""), udp("?", "")}))
              .empty());
    CHECK(own_addresses(
              with({tcp("172.17.0.2:80", "", k_listen), udp("172.17.0.2:4000", "172.17.0.3:80"),
                    tcp("[::ffff:172.17.0.4]:80", "[::ffff:1.2.3.4]:4000"), udp("[fd00::7]:53", "")})) ==
          std::vector<std::string>{"172.17.0.2", "172.17.0.4", "fd00::7"});
}

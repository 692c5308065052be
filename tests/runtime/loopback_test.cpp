// What a network namespace offers to CRIU while it puts sockets back, and that nothing of it stays.
#include "runtime/loopback.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <cstring>
#include <functional>
#include <thread>

#include "base/error.h"
#include "base/fd.h"
#include "base/process.h"

using namespace cprewind::runtime;
namespace base = cprewind::base;
namespace fs = std::filesystem;

namespace {

// A process in a network namespace of its own.
class Stranger {
 public:
    Stranger() {
        while (fs::read_symlink(space()) == fs::read_symlink("/proc/self/ns/net")) std::this_thread::yield();
    }
    pid_t pid() const { return process_.pid(); }
    fs::path space() const { return fmt::format("/proc/{}/ns/net", pid()); }

    // `what` on a thread of its own, for it does not come back from the other namespace.
    template <typename F>
    auto inside(F what) const {
        decltype(what()) answer{};
        std::thread([&] {
            base::Fd fd = base::open_file(space(), O_RDONLY);
            if (::setns(fd.get(), CLONE_NEWNET) == 0) answer = what();
        }).join();
        return answer;
    }

    bool loopback_up() const {
        return inside([] {
            base::Fd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
            ifreq request{};
            std::strcpy(request.ifr_name, "lo");
            return ::ioctl(socket.get(), SIOCGIFFLAGS, &request) == 0 && (request.ifr_flags & IFF_UP) != 0;
        });
    }

    // What CRIU does for a UDP socket: bind to its address, connect to its peer. 0 or errno.
    int bind_and_connect(int family, const char* own, const char* peer) const {
        return inside([&] {
            base::Fd socket(::socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
            auto name = [family](const char* text) {
                sockaddr_storage storage{};
                storage.ss_family = static_cast<sa_family_t>(family);
                auto* four = reinterpret_cast<sockaddr_in*>(&storage);
                auto* six = reinterpret_cast<sockaddr_in6*>(&storage);
                (family == AF_INET ? four->sin_port : six->sin6_port) = htons(4000);
                ::inet_pton(family, text,
                            family == AF_INET ? static_cast<void*>(&four->sin_addr) : &six->sin6_addr);
                return storage;
            };
            sockaddr_storage ours = name(own);
            sockaddr_storage theirs = name(peer);
            if (::bind(socket.get(), reinterpret_cast<sockaddr*>(&ours), sizeof(ours)) != 0) return errno;
            if (::connect(socket.get(), reinterpret_cast<sockaddr*>(&theirs), sizeof(theirs)) != 0)
                return errno;
            return 0;
        });
    }

    std::string text_of(std::vector<std::string> command) const {
        command.insert(command.begin(), {"nsenter", "--target", std::to_string(pid()), "--net"});
        return base::run(command).out;
    }

 private:
    base::Child process_{{"unshare", "--net", "sleep", "60"}};
};

base::ExitStatus run_hook(std::string_view state, std::vector<std::string> addresses = {}) {
    base::TemporaryDirectory directory("/tmp", "cprewind-hook-");
    base::replace_file(directory.path() / "state", state);
    base::Fd input = base::open_file(directory.path() / "state", O_RDONLY);
    base::SpawnOptions options;
    options.standard_in = input.get();
    addresses.insert(addresses.begin(), {CPREWIND_RUNTIME_PROGRAM, k_hook_verb});
    return base::Child(addresses, options).wait();
}

std::string state_of(const Stranger& stranger) {
    return fmt::format(R"({{"ociVersion":"1.2.0","pid":{}}})", stranger.pid());
}

void lower(const Stranger& stranger, const std::vector<std::string>& addresses) {
    std::thread([&] { lower_loopback(stranger.pid(), addresses); }).join();
}

const std::vector<std::string> k_addresses = {"10.9.8.7", "10.9.8.8", "fd00::7", "nonsense"};

}  // namespace

TEST_CASE("the hook raises lo in the container's network namespace, and never fails a restore") {
    REQUIRE(::geteuid() == 0);
    Stranger container;
    for (const char* state : {"", "[]", "{}", R"({"pid":"1"})", R"({"pid":-1})", R"({"pid":99999999})"}) {
        CHECK(run_hook(state).success());
    }
    CHECK_FALSE(container.loopback_up());
    CHECK(run_hook(state_of(container)).success());
    CHECK(container.loopback_up());
    CHECK(container.text_of({"ip", "route"}).empty());
}

TEST_CASE(
    "while CRIU restores, sockets can have the container's own addresses; afterwards nothing of it is left") {
    REQUIRE(::geteuid() == 0);
    Stranger container;
    CHECK(run_hook(state_of(container), k_addresses).success());
    CHECK(container.bind_and_connect(AF_INET, "10.9.8.7", "192.0.2.1") == 0);
    CHECK(container.bind_and_connect(AF_INET, "10.9.8.8", "10.9.8.7") == 0);
    CHECK(container.bind_and_connect(AF_INET, "10.1.1.1", "192.0.2.1") == EADDRNOTAVAIL);
    CHECK(container.bind_and_connect(AF_INET6, "fd00::7", "2001:db8::1") == 0);

    lower(container, k_addresses);
    CHECK(container.loopback_up());
    CHECK(container.bind_and_connect(AF_INET, "10.9.8.7", "10.9.8.7") == EADDRNOTAVAIL);
    CHECK(container.bind_and_connect(AF_INET, "10.9.8.8", "10.9.8.8") == EADDRNOTAVAIL);
    CHECK(container.bind_and_connect(AF_INET6, "fd00::7", "fd00::7") == EADDRNOTAVAIL);
    CHECK(container.bind_and_connect(AF_INET, "127.0.0.1", "192.0.2.1") == ENETUNREACH);
}

TEST_CASE("a network that was there before is left alone") {
    REQUIRE(::geteuid() == 0);
    Stranger container;
    container.text_of({"ip", "link", "set", "lo", "up"});
    container.text_of({"ip", "address", "add", "fd00::7/128", "dev", "lo", "nodad"});
    container.text_of({"ip", "address", "add", "10.9.8.7/32", "dev", "lo", "label", "lo:0"});
    // Without nodad it would stop being tentative in between.
    std::string before = container.text_of({"ip", "address"});
    CHECK(run_hook(state_of(container), k_addresses).success());
    CHECK(container.text_of({"ip", "address"}) == before);
    CHECK(container.text_of({"ip", "route"}).empty());
    lower(container, k_addresses);
    CHECK(container.text_of({"ip", "address"}) == before);
}

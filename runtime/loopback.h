// The network of a container while CRIU restores its sockets.
//
// Docker 28 and later give a container its interfaces after the runtime has created it, and CRIU puts sockets back before
// that: into a new network namespace that has nothing but a loopback that is down. Then a TCP connection inside the
// container has no way ("Can't connect inet socket back: Network is unreachable"), and whatever is bound to the container's
// own address cannot be bound ("Cannot assign requested address"). So while CRIU is at it the loopback is up, has those
// addresses, and a default route leads into it. Afterwards all of that goes, but the loopback stays up, and Docker
// finds what it expects.
//
// A namespace whose loopback is up already is somebody else's (the host's, another container's) or Docker has been
// there (before 28), and is left alone.
#pragma once

#include <sys/types.h>

#include <span>
#include <string>

namespace cprewind::runtime {

// The word after argv[0] under which runc calls us back, followed by the addresses.
inline constexpr const char* k_hook_verb = "hook-lo";

// The hook: reads the OCI state from standard input and prepares the network namespace of its "pid". Throws
// base::Error.
void raise_loopback(std::span<const std::string> addresses);

// Takes away what raise_loopback gave, if it did, in the network namespace of `pid`, in which the calling thread
// stays. Throws base::Error when it cannot get there.
void lower_loopback(pid_t pid, std::span<const std::string> addresses);

}  // namespace cprewind::runtime

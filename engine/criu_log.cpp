#include "engine/criu_log.h"

#include <fmt/format.h>

#include <array>

#include "base/text.h"

namespace cprewind::engine {
namespace {

struct KnownError {
    std::string_view text;  // part of CRIU's message (criu/*.c of 3.17 to 4.2)
    std::string_view cause;
    std::string_view remedy;
};

// Specific before general: the first row that fits a line is taken.
constexpr std::array k_known = {
    KnownError{"Can't get rlimit",
               "a process of a user other than root cannot be dumped without CAP_SYS_RESOURCE",
               "run cprewind with full root capabilities, or the container's processes as root"},
    KnownError{"Unexpected rt vDSO", "this CRIU is too old for the running kernel's vDSO",
               "install CRIU 4.1 or newer"},
    KnownError{"Can't get 1:16 opt", "this CRIU is too old for sockets on kernel 6.16 and newer",
               "install CRIU 4.2 or newer"},
    KnownError{"has bad size", "a file that a process has open is not as long as it was at the dump",
               "the file lies outside the writable layer (a volume or bind mount): put it back to its state "
               "of then"},
    KnownError{"has other size", "a file that a process has open is not as long as it was at the dump",
               "the file lies outside the writable layer (a volume or bind mount): put it back to its state "
               "of then"},
    KnownError{"File mode mismatch",
               "a file that a process has open has changed its type or mode since the dump", ""},
    KnownError{"Can't dump that handle", "an inotify or fanotify watch lies on a file CRIU cannot name",
               "stop what watches files in the container (CRIU cannot dump watches on overlay files)"},
    KnownError{"Connected TCP socket", "an established TCP connection, and CRIU was not told to keep it", ""},
    KnownError{"Can't connect inet socket back",
               "a TCP connection could not be put back: its network is not up", ""},
    KnownError{"Can't bind inet socket", "an address or port that a process had bound is taken or gone",
               "give the container the network and address it had"},
    KnownError{"Found a dangling", "a tty or socket whose other end lies outside the container", ""},
    KnownError{"Dumping TTY", "a terminal whose other end lies outside the container", ""},
    KnownError{"tty: Found slave peer", "a terminal whose other end lies outside the container", ""},
    KnownError{"inherited pty", "the terminal that the container had is not there", ""},
    KnownError{"External socket is used",
               "a unix socket that is connected to a process outside the container",
               "close it, for example by not mounting the host's sockets into the container"},
    KnownError{"unix: Can't dump", "a unix socket that cannot be dumped", ""},
    KnownError{"Can't find non-stream unix socket peer",
               "a unix socket connected to one outside the container", ""},
    KnownError{"No parent found for mountpoint", "CRIU does not see the root of its own mount namespace",
               "run cprewind in the host's mount namespace, not in a chroot"},
    KnownError{"doesn't have a proper root mount", "a mount inside the container comes from outside it", ""},
    KnownError{"Can't lookup mount", "a file lies on a mount that CRIU cannot find", ""},
    KnownError{"Unsupported FS", "a file system is mounted in the container that CRIU cannot dump", ""},
    KnownError{"io_uring", "a process uses io_uring, which CRIU cannot dump",
               "turn io_uring off in the application"},
    KnownError{"ptrace", "another debugger is attached to a process of the container",
               "detach gdb or strace, then retry"},
    KnownError{"Pid ", "a process id that the restore needs is taken", ""},
    KnownError{"Can't fork for",
               "a process id that the restore needs is taken, or a limit on processes is reached", ""},
    KnownError{"No space left on device", "the disk or tmpfs for the images is full",
               "free some space, or choose another place with CPREWIND_STAGING"},
    KnownError{"Cannot allocate memory", "memory ran out", "free some memory, then retry"},
    KnownError{"mmap: Can't", "a mapping could not be put back at its address", ""},
    KnownError{"CPU", "this processor lacks features that the dumped processes use",
               "restore on a similar processor"},
    KnownError{"Unknown image", "an image of the dump is damaged or of an unknown kind", "cprewind verify"},
    KnownError{"Magic doesn't match", "an image of the dump is damaged", "cprewind verify"},
    KnownError{"Failed unpacking message", "an image of the dump is damaged", "cprewind verify"},
    KnownError{"Bad image entry size", "an image of the dump is damaged", "cprewind verify"},
    KnownError{"Unexpected EOF", "an image of the dump is truncated", "cprewind verify"},
};

// Lines that only report that something else failed; they explain nothing.
constexpr std::array k_consequences = {
    std::string_view("failed: "),
    std::string_view("FAILED"),
    std::string_view("Dumping FAILED"),
    std::string_view("Restoring FAILED"),
    std::string_view("exited with"),
    std::string_view("Unable to"),
    std::string_view("cgroupd: recv req error"),
    // In every log of a host without CAP_SYS_RESOURCE; CRIU goes on.
    std::string_view("Can't setup RLIMIT_NOFILE"),
};

// "(00.012345)     12: Error (criu/files.c:12): text" without the time stamp.
std::string_view without_stamp(std::string_view line) {
    if (line.starts_with('(')) {
        size_t end = line.find(')');
        if (end != std::string_view::npos) line.remove_prefix(end + 1);
    }
    return base::trim(line);
}

std::string_view message_of(std::string_view line) {
    size_t end = line.find("): ");
    return end == std::string_view::npos ? line : line.substr(end + 3);
}

bool tells_nothing(std::string_view line) {
    for (std::string_view consequence : k_consequences) {
        if (line.find(consequence) != std::string_view::npos) return true;
    }
    return false;
}

}  // namespace

std::vector<std::string> error_lines(std::string_view log, size_t most) {
    std::vector<std::string> lines;
    for (const std::string& line : base::split(log, '\n')) {
        if (lines.size() == most) break;
        std::string_view bare = without_stamp(line);
        if (bare.find("Error (") != std::string_view::npos) lines.emplace_back(bare);
    }
    return lines;
}

std::optional<CriuCause> explain_criu_log(std::string_view log) {
    auto lines = error_lines(log, 200);
    for (const std::string& line : lines) {
        if (tells_nothing(message_of(line))) continue;
        for (const KnownError& known : k_known) {
            if (message_of(line).find(known.text) != std::string_view::npos) {
                // CRIU's own words name the file, the pid, the address.
                return CriuCause{fmt::format("{} ({})", known.cause, base::escape(message_of(line))),
                                 std::string(known.remedy), line};
            }
        }
    }
    for (const std::string& line : lines) {
        if (!tells_nothing(message_of(line))) return CriuCause{base::escape(message_of(line)), "", line};
    }
    if (lines.empty()) return std::nullopt;
    return CriuCause{base::escape(message_of(lines.front())), "", lines.front()};
}

}  // namespace cprewind::engine

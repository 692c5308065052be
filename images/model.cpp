#include "images/model.h"

#include <sys/mman.h>

#include <algorithm>

namespace cprewind::images {

const char* name_of(Architecture architecture) {
    switch (architecture) {
        case Architecture::x86_64:
            return "x86_64";
        case Architecture::aarch64:
            return "aarch64";
        case Architecture::arm:
            return "arm";
        case Architecture::ppc64:
            return "ppc64";
        case Architecture::s390:
            return "s390";
        case Architecture::mips:
            return "mips";
        case Architecture::loongarch64:
            return "loongarch64";
        case Architecture::riscv64:
            return "riscv64";
        case Architecture::unknown:
            break;
    }
    return "unknown";
}

const char* name_of(MappingKind kind) {
    switch (kind) {
        case MappingKind::anonymous:
            return "anonymous";
        case MappingKind::heap:
            return "heap";
        case MappingKind::stack:
            return "stack";
        case MappingKind::file_private:
            return "file";
        case MappingKind::file_shared:
            return "shared file";
        case MappingKind::anonymous_shared:
            return "shared";
        case MappingKind::vdso:
            return "vdso";
        case MappingKind::vvar:
            return "vvar";
        case MappingKind::vsyscall:
            return "vsyscall";
        case MappingKind::sysv_shared:
            return "sysv";
        case MappingKind::memfd:
            return "memfd";
        case MappingKind::socket:
            return "socket";
        case MappingKind::aio_ring:
            return "aio";
        case MappingKind::shadow_stack:
            return "shadow stack";
        case MappingKind::guard:
            return "guard";
        case MappingKind::uprobes:
            return "uprobes";
        case MappingKind::plugin:
            return "plugin";
        case MappingKind::unknown:
            break;
    }
    return "unknown";
}

const char* name_of(ProcessState state) {
    switch (state) {
        case ProcessState::alive:
            return "alive";
        case ProcessState::stopped:
            return "stopped";
        case ProcessState::zombie:
            return "zombie";
        case ProcessState::unknown:
            break;
    }
    return "unknown";
}

const char* name_of(FileKind kind) {
    switch (kind) {
        case FileKind::regular:
            return "file";
        case FileKind::pipe:
            return "pipe";
        case FileKind::fifo:
            return "fifo";
        case FileKind::unix_socket:
            return "unix";
        case FileKind::inet_socket:
            return "inet";
        case FileKind::packet_socket:
            return "packet";
        case FileKind::netlink_socket:
            return "netlink";
        case FileKind::eventfd:
            return "eventfd";
        case FileKind::eventpoll:
            return "eventpoll";
        case FileKind::signalfd:
            return "signalfd";
        case FileKind::inotify:
            return "inotify";
        case FileKind::fanotify:
            return "fanotify";
        case FileKind::tty:
            return "tty";
        case FileKind::tun:
            return "tun";
        case FileKind::timerfd:
            return "timerfd";
        case FileKind::memfd:
            return "memfd";
        case FileKind::ns:
            return "namespace";
        case FileKind::external:
            return "external";
        case FileKind::bpfmap:
            return "bpfmap";
        case FileKind::pidfd:
            return "pidfd";
        case FileKind::unknown:
            break;
    }
    return "unknown";
}

// include/net/tcp_states.h of the kernel.
const char* socket_state_name(uint32_t state) {
    constexpr const char* k_names[] = {"UNKNOWN",   "ESTABLISHED", "SYN_SENT",    "SYN_RECV",   "FIN_WAIT1",
                                       "FIN_WAIT2", "TIME_WAIT",   "CLOSE",       "CLOSE_WAIT", "LAST_ACK",
                                       "LISTEN",    "CLOSING",     "NEW_SYN_RECV"};
    return state < std::size(k_names) ? k_names[state] : k_names[0];
}

std::optional<uint64_t> Thread::register_named(std::string_view name) const {
    for (const Register& each : registers) {
        if (name == each.name) return each.value;
    }
    return std::nullopt;
}

bool Mapping::shares_memory() const {
    switch (kind) {
        case MappingKind::anonymous_shared:
        case MappingKind::sysv_shared:
            return true;
        case MappingKind::memfd:
            return (flags & MAP_SHARED) != 0;
        default:
            return false;
    }
}

const Process* Checkpoint::find_process(DumpPid pid) const {
    auto found =
        std::find_if(processes.begin(), processes.end(), [&](const Process& p) { return p.pid == pid; });
    return found == processes.end() ? nullptr : &*found;
}

const File* Checkpoint::find_file(uint32_t id) const {
    auto found = files.find(id);
    return found == files.end() ? nullptr : &found->second;
}

std::string protection_text(const Mapping& mapping) {
    std::string text = "---p";
    if ((mapping.protection & PROT_READ) != 0) text[0] = 'r';
    if ((mapping.protection & PROT_WRITE) != 0) text[1] = 'w';
    if ((mapping.protection & PROT_EXEC) != 0) text[2] = 'x';
    if ((mapping.flags & MAP_SHARED) != 0) text[3] = 's';
    return text;
}

}  // namespace cprewind::images

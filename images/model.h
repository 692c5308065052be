// What a checkpoint says, as plain values: the vocabulary that inspect and cli speak. Nothing here knows
// protobuf or files. Strings from the evidence are bytes as found (never trusted, escaped only when shown).
#pragma once

#include <array>
#include <chrono>
#include <compare>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "images/file_details.h"
#include "images/finding.h"
#include "images/task_details.h"

namespace cprewind::images {

// A pid or tid inside the evidence. Its own type, so that it is never signalled by mistake.
struct DumpPid {
    uint32_t value = 0;

    auto operator<=>(const DumpPid&) const = default;
};

enum class Architecture { unknown, x86_64, aarch64, arm, ppc64, s390, mips, loongarch64, riscv64 };
const char* name_of(Architecture architecture);

// Of inventory.img. What older writers did not record is absent, not zero.
struct Inventory {
    std::optional<uint32_t> image_version;   // 1: 1.0, 2: 1.1, 3: compressed pages
    std::optional<std::string> lsm;          // "none", "selinux", "apparmor"
    std::optional<uint64_t> dump_uptime_us;  // microseconds since boot when the dump began
    std::optional<std::string> criu_run_id;
    std::vector<std::string> plugins;
    bool network_locked_by_nftables = false;
};

// Of stats-dump.
struct DumpStatistics {
    std::chrono::microseconds freezing{};  // until all tasks stood still
    std::chrono::microseconds frozen{};    // how long they stood still
    std::chrono::microseconds memory_dump{};
    std::chrono::microseconds memory_write{};
    uint64_t pages_scanned = 0;
    uint64_t pages_skipped_parent = 0;
    uint64_t pages_written = 0;
    uint64_t pages_lazy = 0;
    uint64_t shared_pages_scanned = 0;
    uint64_t shared_pages_skipped_parent = 0;
    uint64_t shared_pages_written = 0;
};

// --- processes ---

struct Register {
    const char* name = "";
    uint64_t value = 0;
};

struct Thread {
    DumpPid tid;
    std::string comm;
    std::vector<Register>
        registers;  // general purpose, in the order a debugger shows them; empty when unknown
    std::optional<uint64_t> blocked_signals;
    std::optional<uint32_t> sched_policy;
    std::optional<int32_t> nice;
    std::optional<uint32_t> sched_priority;
    std::optional<uint32_t> seccomp_mode;
    ThreadDetails details;

    // The value of the register of that name, if it was read.
    std::optional<uint64_t> register_named(std::string_view name) const;
};

struct Credentials {
    uint32_t uid = 0, euid = 0, suid = 0, fsuid = 0;
    uint32_t gid = 0, egid = 0, sgid = 0, fsgid = 0;
    std::vector<uint32_t> groups;
    uint64_t cap_inheritable = 0, cap_permitted = 0, cap_effective = 0, cap_bounding = 0, cap_ambient = 0;
    uint32_t securebits = 0;
    bool no_new_privs = false;
    std::string lsm_profile;

    bool operator==(const Credentials&) const = default;
};

// Which kernel objects tasks share: equal numbers mean the same object. Numbers are CRIU's own, not the
// kernel's.
struct ObjectIds {
    uint32_t vm = 0, files = 0, fs = 0, sighand = 0;
    std::optional<uint32_t> pid_ns, net_ns, ipc_ns, uts_ns, mnt_ns, user_ns, cgroup_ns, time_ns;
};

enum class MappingKind {
    anonymous,
    heap,
    stack,
    file_private,
    file_shared,
    anonymous_shared,
    vdso,
    vvar,
    vsyscall,
    sysv_shared,
    memfd,
    socket,
    aio_ring,
    shadow_stack,
    guard,
    uprobes,
    plugin,
    unknown,
};
// As shown to people: "heap", "stack", "file", "shared", …
const char* name_of(MappingKind kind);

struct Mapping {
    uint64_t start = 0;
    uint64_t end = 0;         // never below start
    uint32_t protection = 0;  // PROT_*
    uint32_t flags = 0;       // MAP_*
    uint32_t status = 0;      // CRIU's VMA_AREA_* bits
    MappingKind kind = MappingKind::unknown;
    std::string path;     // files and memfds
    uint64_t offset = 0;  // bytes, in the file or the shared object
    // Shared memory: its object. A private memfd mapping: the object that shows where the process wrote
    // nothing.
    uint64_t shmid = 0;
    std::optional<uint32_t> file_id;  // files and memfds: key in Checkpoint::files
    uint64_t advice = 0;              // bit n: madvise(n) was called

    uint64_t size() const { return end - start; }
    // Its pages are those of the object `shmid` (pagemap-shmem), not of the process.
    bool shares_memory() const;
    // Like shares_memory, or private with the object beneath.
    bool has_object() const { return shares_memory() || kind == MappingKind::memfd; }
    bool is_file() const { return kind == MappingKind::file_private || kind == MappingKind::file_shared; }
};

// "rwxp" or "rwxs", as /proc/PID/maps shows it.
std::string protection_text(const Mapping& mapping);

struct FileDescriptor {
    uint32_t fd = 0;
    uint32_t file_id = 0;  // key in Checkpoint::files; may be missing there (then there is a finding)
    bool close_on_exec = false;
};

struct Limit {
    uint64_t soft = 0;
    uint64_t hard = 0;  // UINT64_MAX: unlimited
};

struct AddressRange {
    uint64_t start = 0;
    uint64_t end = 0;

    bool operator==(const AddressRange&) const = default;
};

enum class ProcessState { alive, stopped, zombie, unknown };
const char* name_of(ProcessState state);

struct Process {
    DumpPid pid;
    DumpPid ppid;  // 0: the root
    DumpPid pgid;
    DumpPid sid;
    uint32_t depth = 0;  // in the tree; the root has 0
    ProcessState state = ProcessState::unknown;
    uint32_t exit_code = 0;  // zombies: as wait(2) would report it
    std::string comm;
    std::vector<Thread> threads;  // the first is the leader
    std::optional<Credentials> credentials;
    std::optional<ObjectIds> ids;
    std::string cwd;
    std::string root;
    std::optional<uint32_t> umask;
    std::string executable;
    // Of the memory image; all zero when there is none (zombies).
    uint64_t code_start = 0, code_end = 0, data_start = 0, data_end = 0;
    uint64_t stack_start = 0, brk_start = 0, brk = 0;
    AddressRange arguments;
    AddressRange environment;
    std::vector<uint64_t> auxv;
    std::vector<Mapping> mappings;     // sorted by start, not overlapping
    std::vector<AddressRange> guards;  // parts of mappings that fault on any access (MADV_GUARD_INSTALL)
    std::vector<FileDescriptor> fds;   // sorted by fd
    std::vector<Limit> limits;         // index: RLIMIT_*
    std::optional<int32_t> oom_score_adj;
    std::optional<uint32_t> loginuid;
    // Of threads that are not who their leader is.
    std::map<DumpPid, Credentials> other_credentials;
    TaskDetails details;
};

// --- open files ---

enum class FileKind {
    regular,  // any path: files, directories, devices
    pipe,
    fifo,
    unix_socket,
    inet_socket,
    packet_socket,
    netlink_socket,
    eventfd,
    eventpoll,
    signalfd,
    inotify,
    fanotify,
    tty,
    tun,
    timerfd,
    memfd,
    ns,
    external,
    bpfmap,
    pidfd,
    unknown,
};
const char* name_of(FileKind kind);

struct Socket {
    uint32_t family = 0;    // AF_*
    uint32_t type = 0;      // SOCK_*
    uint32_t protocol = 0;  // IPPROTO_*
    uint32_t state = 0;     // as in the kernel's TCP_* states, for all families
    uint32_t inode = 0;
    std::string local;   // "0.0.0.0:6379", "[::1]:80", "/run/x.sock", "@abstract"
    std::string remote;  // same, or empty
    uint32_t backlog = 0;
    uint32_t peer_inode = 0;  // Unix sockets: 0 when none or outside
};
// "LISTEN", "ESTABLISHED", …
const char* socket_state_name(uint32_t state);

struct File {
    uint32_t id = 0;
    FileKind kind = FileKind::unknown;
    std::string description;  // for people: a path, "pipe:[123]", "tcp 0.0.0.0:6379 LISTEN"
    std::string path;         // regular, fifo, memfd: its name; else empty
    uint32_t flags = 0;       // O_*
    std::optional<uint64_t> position;
    std::optional<uint64_t> size;  // when dumped, if recorded
    std::optional<uint32_t> mode;
    bool deleted = false;  // no name led to it any more when it was dumped
    // Pipe id, inode, shmid: whatever tells two of this kind apart; 0 when there is none.
    uint64_t object = 0;
    std::optional<Socket> socket;
    FileDetails details;
};

// --- the rest ---

struct Mount {
    uint32_t id = 0;
    uint32_t parent_id = 0;
    uint32_t namespace_id = 0;  // as in ObjectIds::mnt_ns
    std::string filesystem;     // "overlay", "proc", …
    std::string mountpoint;
    std::string root;
    std::string source;
    std::string options;
    uint64_t flags = 0;  // MS_*
    bool external = false;
    uint32_t device = 0;     // kernel device number, as in the names of tmpfs-dev-*.tar.gz.img
    uint32_t shared_id = 0;  // peer group, 0: private
    uint32_t master_id = 0;
};

struct Checkpoint {
    Inventory inventory;
    Architecture architecture = Architecture::unknown;
    std::vector<Process> processes;  // depth first, a parent before its children
    std::map<uint32_t, File> files;
    std::vector<Mount> mounts;
    std::optional<std::string> hostname;
    std::optional<DumpStatistics> statistics;
    Findings findings;

    const Process* find_process(DumpPid pid) const;
    const File* find_file(uint32_t id) const;
};

}  // namespace cprewind::images

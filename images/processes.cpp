// A process is spread over many images: core-<tid> for each thread, and for those that were alive ids, mm, fs
// and fdinfo. pstree.img says which processes there are; nothing else does, so it is read with the most
// suspicion.
#include "images/processes.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <set>
#include <string>

#include "images/image_reader.h"
#include "images/proto/files.pb.h"
#include "images/proto/memory.pb.h"
#include "images/proto/process.pb.h"
#include "images/queues.h"
#include "images/registers.h"

namespace cprewind::images {

namespace {

// pstree.img costs an attacker ten bytes a process and us a thousand; no machine that could be dumped had
// more.
constexpr size_t k_processes_limit = 100'000;
constexpr size_t k_threads_limit = 200'000;
// Of all processes together: a table that many share is shown for each of them.
constexpr size_t k_fds_limit = 4u << 20;

// --- the tree ---

std::vector<Process> read_tree(const ImageSource& source, Findings& findings) {
    std::vector<Process> processes;
    auto reader = ImageReader::open(source, "pstree.img", image_kind("PSTREE"), findings);
    if (!reader) return processes;
    std::set<DumpPid> seen;
    size_t threads = 0;
    criu::pstree_entry entry;
    while (reader->next(entry)) {
        if (processes.size() >= k_processes_limit || threads >= k_threads_limit) {
            reader->report(FindingKind::damaged,
                           fmt::format("more than {} processes or {} threads; the rest is not read",
                                       k_processes_limit, k_threads_limit));
            break;
        }
        Process process;
        process.pid = {entry.pid()};
        process.ppid = {entry.ppid()};
        process.pgid = {entry.pgid()};
        process.sid = {entry.sid()};
        if (!seen.insert(process.pid).second) {
            reader->report(FindingKind::damaged, fmt::format("process {} appears twice", entry.pid()));
            continue;
        }
        std::set<uint32_t> tids;
        for (uint32_t tid : entry.threads()) {
            if (++threads >= k_threads_limit) break;
            if (tid == 0) continue;  // what CRIU writes for zombies, which have no thread left
            if (!tids.insert(tid).second) {
                reader->report(FindingKind::damaged,
                               fmt::format("thread {} of process {} appears twice", tid, entry.pid()));
                continue;
            }
            process.threads.emplace_back().tid = {tid};
        }
        if (!tids.contains(entry.pid())) {
            process.threads.emplace_back().tid = process.pid;
        }
        std::stable_partition(process.threads.begin(), process.threads.end(),
                              [&](const Thread& thread) { return thread.tid == process.pid; });
        processes.push_back(std::move(process));
    }
    if (processes.empty()) {
        add_finding(findings, {FindingKind::damaged, "pstree.img", {}, "it names no process"});
    }
    return processes;
}

// Depth first, with depths. Processes whose parent is lost become roots; so does one of each circle.
std::vector<Process> order_tree(std::vector<Process> flat, Findings& findings) {
    std::map<DumpPid, std::vector<size_t>> children;
    std::set<DumpPid> known;
    for (const Process& process : flat) known.insert(process.pid);
    std::vector<size_t> roots;
    for (size_t i = 0; i < flat.size(); ++i) {
        const Process& process = flat[i];
        if (process.ppid.value != 0 && known.contains(process.ppid)) {
            children[process.ppid].push_back(i);
            continue;
        }
        roots.push_back(i);
        if (process.ppid.value != 0) {
            add_finding(findings, {FindingKind::damaged,
                                   "pstree.img",
                                   {},
                                   fmt::format("process {} has the parent {}, which is not in it",
                                               process.pid.value, process.ppid.value)});
        }
    }

    std::vector<Process> ordered;
    ordered.reserve(flat.size());
    std::vector<bool> visited(flat.size(), false);
    std::vector<std::pair<size_t, uint32_t>> stack;  // index, depth
    auto visit_from = [&](size_t root) {
        stack.emplace_back(root, 0);
        while (!stack.empty()) {
            auto [index, depth] = stack.back();
            stack.pop_back();
            if (visited[index]) continue;
            visited[index] = true;
            auto below = children.find(flat[index].pid);
            if (below != children.end()) {
                for (auto child = below->second.rbegin(); child != below->second.rend(); ++child) {
                    stack.emplace_back(*child, depth + 1);
                }
            }
            flat[index].depth = depth;
            ordered.push_back(std::move(flat[index]));
        }
    };
    for (size_t root : roots) visit_from(root);
    for (size_t i = 0; i < flat.size(); ++i) {
        if (visited[i]) continue;
        add_finding(findings, {FindingKind::damaged,
                               "pstree.img",
                               {},
                               fmt::format("process {} is its own ancestor", flat[i].pid.value)});
        visit_from(i);
    }
    return ordered;
}

// --- cores ---

template <typename Words>
uint64_t join_words(const Words& words) {
    uint64_t value = words.size() > 0 ? words.Get(0) : 0;
    if (words.size() > 1) value |= static_cast<uint64_t>(words.Get(1)) << 32;
    return value;
}

Credentials make_credentials(const criu::creds_entry& entry) {
    Credentials out;
    out.uid = entry.uid();
    out.euid = entry.euid();
    out.suid = entry.suid();
    out.fsuid = entry.fsuid();
    out.gid = entry.gid();
    out.egid = entry.egid();
    out.sgid = entry.sgid();
    out.fsgid = entry.fsgid();
    out.groups.assign(entry.groups().begin(), entry.groups().end());
    out.cap_inheritable = join_words(entry.cap_inh());
    out.cap_permitted = join_words(entry.cap_prm());
    out.cap_effective = join_words(entry.cap_eff());
    out.cap_bounding = join_words(entry.cap_bnd());
    out.cap_ambient = join_words(entry.cap_amb());
    out.securebits = entry.secbits();
    out.no_new_privs = entry.no_new_privs() != 0;
    out.lsm_profile = entry.lsm_profile();
    return out;
}

ObjectIds make_ids(const criu::task_kobj_ids_entry& entry) {
    ObjectIds ids;
    ids.vm = entry.vm_id();
    ids.files = entry.files_id();
    ids.fs = entry.fs_id();
    ids.sighand = entry.sighand_id();
    if (entry.has_pid_ns_id()) ids.pid_ns = entry.pid_ns_id();
    if (entry.has_net_ns_id()) ids.net_ns = entry.net_ns_id();
    if (entry.has_ipc_ns_id()) ids.ipc_ns = entry.ipc_ns_id();
    if (entry.has_uts_ns_id()) ids.uts_ns = entry.uts_ns_id();
    if (entry.has_mnt_ns_id()) ids.mnt_ns = entry.mnt_ns_id();
    if (entry.has_user_ns_id()) ids.user_ns = entry.user_ns_id();
    if (entry.has_cgroup_ns_id()) ids.cgroup_ns = entry.cgroup_ns_id();
    if (entry.has_time_ns_id()) ids.time_ns = entry.time_ns_id();
    return ids;
}

void fill_thread(const criu::core_entry& core, Thread& thread) {
    thread.registers = read_registers(core);
    thread.details = read_thread_details(core);
    if (!core.has_thread_core()) return;
    const criu::thread_core_entry& entry = core.thread_core();
    thread.comm = entry.comm();
    if (entry.has_blk_sigset()) thread.blocked_signals = entry.blk_sigset();
    if (entry.has_sched_policy()) thread.sched_policy = entry.sched_policy();
    if (entry.has_sched_nice()) thread.nice = entry.sched_nice();
    if (entry.has_sched_prio()) thread.sched_priority = entry.sched_prio();
    if (entry.has_seccomp_mode()) thread.seccomp_mode = entry.seccomp_mode();
}

void fill_leader(const criu::core_entry& core, const std::string& image, Process& process,
                 Findings& findings) {
    if (core.thread_core().has_creds()) process.credentials = make_credentials(core.thread_core().creds());
    if (core.has_ids()) process.ids = make_ids(core.ids());
    if (!core.has_tc()) {
        add_finding(findings, {FindingKind::damaged,
                               image,
                               {},
                               "the leader of a process, but without what belongs to the process"});
        return;
    }
    const criu::task_core_entry& task = core.tc();
    process.comm = task.comm();
    if (process.threads.front().comm.empty()) process.threads.front().comm = task.comm();
    if (!process.threads.front().blocked_signals) process.threads.front().blocked_signals = task.blk_sigset();
    process.exit_code = task.exit_code();
    process.details = read_task_details(core);
    switch (task.task_state()) {  // TASK_* of criu/include/image.h
        case 1:
            process.state = ProcessState::alive;
            break;
        case 2:
        case 6:
            process.state = ProcessState::zombie;
            break;
        case 3:
            process.state = ProcessState::stopped;
            break;
        default:
            add_finding(findings,
                        {FindingKind::unknown,
                         image,
                         {},
                         fmt::format("task state {}, which this version does not know", task.task_state())});
    }
    for (const auto& limit : task.rlimits().rlimits()) process.limits.push_back({limit.cur(), limit.max()});
    if (task.has_oom_score_adj()) process.oom_score_adj = task.oom_score_adj();
    if (task.has_loginuid()) process.loginuid = task.loginuid();
}

void load_cores(const ImageSource& source, Process& process, Architecture& architecture, Findings& findings) {
    const ImageKind& kind = image_kind("CORE");
    for (Thread& thread : process.threads) {
        std::string image = image_file_name(kind, thread.tid.value);
        criu::core_entry core;
        if (!read_single(source, image, kind, core, findings)) continue;
        Architecture own = architecture_of(core);
        if (architecture == Architecture::unknown) architecture = own;
        if (own != architecture) {
            add_finding(findings, {FindingKind::damaged,
                                   image,
                                   {},
                                   fmt::format("a thread of {}, while others are {}", name_of(own),
                                               name_of(architecture))});
        }
        fill_thread(core, thread);
        if (thread.tid == process.pid) fill_leader(core, image, process, findings);
        if (core.thread_core().has_creds() && thread.tid != process.pid) {
            Credentials own_credentials = make_credentials(core.thread_core().creds());
            if (process.credentials && own_credentials != *process.credentials)
                process.other_credentials.emplace(thread.tid, std::move(own_credentials));
        }
        if (process.state == ProcessState::zombie) {
            // It has no thread but the leader; what CRIU lists beside it is memory that it never filled in.
            process.threads.resize(1);
            break;
        }
    }
}

// --- memory, files ---

constexpr unsigned k_guard_bit = 16;

// VMA_* bits of criu/include/image.h, the telling ones first.
MappingKind kind_of(const criu::vma_entry& vma, const Process& process) {
    struct Bit {
        unsigned number;
        MappingKind kind;
    };
    constexpr Bit k_bits[] = {
        {k_guard_bit, MappingKind::guard},
        {15, MappingKind::shadow_stack},
        {17, MappingKind::uprobes},
        {2, MappingKind::vsyscall},
        {3, MappingKind::vdso},
        {12, MappingKind::vvar},
        {13, MappingKind::aio_ring},
        {27, MappingKind::plugin},
        {10, MappingKind::sysv_shared},
        {11, MappingKind::socket},
        {14, MappingKind::memfd},
        {6, MappingKind::file_private},
        {7, MappingKind::file_shared},
        {8, MappingKind::anonymous_shared},
        {5, MappingKind::heap},
        {1, MappingKind::stack},
        {9, MappingKind::anonymous},
    };
    for (const Bit& bit : k_bits) {
        if ((vma.status() & (1u << bit.number)) == 0) continue;
        if (bit.kind != MappingKind::anonymous) return bit.kind;
        if (process.stack_start >= vma.start() && process.stack_start < vma.end()) return MappingKind::stack;
        return MappingKind::anonymous;
    }
    return MappingKind::unknown;
}

void name_mapping(const criu::vma_entry& vma, const std::map<uint32_t, File>& files, const std::string& image,
                  Mapping& mapping, Findings& findings) {
    mapping.shmid = vma.shmid();
    if (!mapping.is_file() && mapping.kind != MappingKind::memfd) return;
    // Of files and memfds the field holds the id of the open file.
    mapping.shmid = 0;
    auto file = vma.shmid() <= UINT32_MAX ? files.find(static_cast<uint32_t>(vma.shmid())) : files.end();
    if (file == files.end()) {
        add_finding(findings, {FindingKind::absent,
                               image,
                               {},
                               fmt::format("the mapping at {:#x} is of file {}, which no image describes",
                                           vma.start(), vma.shmid())});
        return;
    }
    mapping.file_id = file->first;
    mapping.path = file->second.path;
    if (mapping.kind != MappingKind::memfd) return;
    mapping.shmid = file->second.object;
    // CRIU since 3.17 dumps anonymous shared memory as a memfd with the name that /proc shows for it.
    if (mapping.path == "memfd:/dev/zero" && (mapping.flags & MAP_SHARED) != 0) {
        mapping.kind = MappingKind::anonymous_shared;
        mapping.path.clear();
    }
}

// CRIU 4.2 lists the ranges under MADV_GUARD_INSTALL (stack guards of glibc 2.42) behind all mappings, as
// entries that hold nothing but a range. /proc knows only the mappings that they are part of, and so do we.
void load_guards(const criu::mm_entry& mm, const std::string& image, Process& process, Findings& findings) {
    for (const criu::vma_entry& vma : mm.vmas()) {
        if ((vma.status() & (1u << k_guard_bit)) == 0) continue;
        // One range may run on through mappings that touch: cut it where they do.
        auto mapping = std::partition_point(process.mappings.begin(), process.mappings.end(),
                                            [&](const Mapping& m) { return m.end <= vma.start(); });
        uint64_t place = vma.start();
        std::vector<AddressRange> parts;
        for (; mapping != process.mappings.end() && mapping->start <= place && place < vma.end(); ++mapping) {
            parts.push_back({place, std::min(vma.end(), mapping->end)});
            place = parts.back().end;
        }
        if (place >= vma.end() && !parts.empty()) {
            process.guards.insert(process.guards.end(), parts.begin(), parts.end());
        } else {
            add_finding(findings, {FindingKind::damaged,
                                   image,
                                   {},
                                   fmt::format("the guard range {:#x}-{:#x} lies in no mapping", vma.start(),
                                               vma.end())});
        }
    }
}

// Before CRIU 3.0 mappings were in an image of their own, and so were credentials.
void read_old_mappings(const ImageSource& source, const Process& process, criu::mm_entry& mm,
                       Findings& findings) {
    const ImageKind& kind = image_kind("VMAS");
    std::string image = image_file_name(kind, process.pid.value);
    if (source.open(image) == nullptr) return;
    auto reader = ImageReader::open(source, image, kind, findings);
    criu::vma_entry entry;
    while (reader && reader->next(entry)) *mm.add_vmas() = entry;
}

void read_old_credentials(const ImageSource& source, Process& process, Findings& findings) {
    const ImageKind& kind = image_kind("CREDS");
    std::string image = image_file_name(kind, process.pid.value);
    criu::creds_entry entry;
    if (source.open(image) == nullptr || !read_single(source, image, kind, entry, findings)) return;
    process.credentials = make_credentials(entry);
}

void read_old_limits(const ImageSource& source, Process& process, Findings& findings) {
    const ImageKind& kind = image_kind("RLIMIT");
    std::string image = image_file_name(kind, process.pid.value);
    if (source.open(image) == nullptr) return;
    auto reader = ImageReader::open(source, image, kind, findings);
    criu::rlimit_entry entry;
    while (reader && reader->next(entry)) process.limits.push_back({entry.cur(), entry.max()});
}

void load_memory(const ImageSource& source, const std::map<uint32_t, File>& files, Process& process,
                 std::set<uint32_t>& used, Findings& findings) {
    const ImageKind& kind = image_kind("MM");
    std::string image = image_file_name(kind, process.pid.value);
    criu::mm_entry mm;
    if (!read_single(source, image, kind, mm, findings)) return;
    process.code_start = mm.mm_start_code();
    process.code_end = mm.mm_end_code();
    process.data_start = mm.mm_start_data();
    process.data_end = mm.mm_end_data();
    process.stack_start = mm.mm_start_stack();
    process.brk_start = mm.mm_start_brk();
    process.brk = mm.mm_brk();
    process.arguments = {mm.mm_arg_start(), std::max(mm.mm_arg_start(), mm.mm_arg_end())};
    process.environment = {mm.mm_env_start(), std::max(mm.mm_env_start(), mm.mm_env_end())};
    process.auxv.assign(mm.mm_saved_auxv().begin(), mm.mm_saved_auxv().end());
    used.insert(mm.exe_file_id());
    auto executable = files.find(mm.exe_file_id());
    if (executable != files.end()) {
        process.executable = executable->second.path;
    } else {
        add_finding(findings,
                    {FindingKind::absent,
                     image,
                     {},
                     fmt::format("the executable is file {}, which no image describes", mm.exe_file_id())});
    }
    if (mm.vmas_size() == 0) read_old_mappings(source, process, mm, findings);
    uint64_t last_end = 0;
    for (const criu::vma_entry& vma : mm.vmas()) {
        if ((vma.status() & (1u << k_guard_bit)) != 0) continue;
        if (vma.start() >= vma.end() || vma.start() < last_end) {
            add_finding(
                findings,
                {FindingKind::damaged,
                 image,
                 {},
                 fmt::format("the mapping {:#x}-{:#x} is empty, backwards or overlaps another; dropped",
                             vma.start(), vma.end())});
            continue;
        }
        last_end = vma.end();
        Mapping mapping;
        mapping.start = vma.start();
        mapping.end = vma.end();
        mapping.protection = vma.prot();
        mapping.flags = vma.flags();
        mapping.status = vma.status();
        mapping.kind = kind_of(vma, process);
        mapping.offset = vma.pgoff();
        mapping.advice = vma.madv();
        name_mapping(vma, files, image, mapping, findings);
        process.mappings.push_back(std::move(mapping));
    }
    load_guards(mm, image, process, findings);
}

std::string path_of(uint32_t id, const char* what, const std::string& image,
                    const std::map<uint32_t, File>& files, Findings& findings) {
    auto file = files.find(id);
    if (file != files.end()) return file->second.path;
    add_finding(findings, {FindingKind::absent,
                           image,
                           {},
                           fmt::format("the {} is file {}, which no image describes", what, id)});
    return {};
}

void load_fs(const ImageSource& source, const std::map<uint32_t, File>& files, Process& process,
             std::set<uint32_t>& used, Findings& findings) {
    const ImageKind& kind = image_kind("FS");
    std::string image = image_file_name(kind, process.pid.value);
    criu::fs_entry fs;
    if (!read_single(source, image, kind, fs, findings)) return;
    used.insert(fs.cwd_id());
    used.insert(fs.root_id());
    process.cwd = path_of(fs.cwd_id(), "working directory", image, files, findings);
    process.root = path_of(fs.root_id(), "root", image, files, findings);
    if (fs.has_umask()) process.umask = fs.umask();
}

std::vector<FileDescriptor> load_fds(const ImageSource& source, uint32_t files_id,
                                     const std::map<uint32_t, File>& files, size_t limit,
                                     Findings& findings) {
    std::vector<FileDescriptor> fds;
    const ImageKind& kind = image_kind("FDINFO");
    std::string image = image_file_name(kind, files_id);
    // CRIU makes no image for a table that has no descriptor in it; check_files_have_owners() has the last word.
    if (source.open(image) == nullptr) return fds;
    auto reader = ImageReader::open(source, image, kind, findings);
    if (!reader) return fds;
    criu::fdinfo_entry entry;
    while (fds.size() <= limit && reader->next(entry)) {
        if (!files.contains(entry.id())) {
            reader->report(
                FindingKind::absent,
                fmt::format("descriptor {} is file {}, which no image describes", entry.fd(), entry.id()));
        }
        fds.push_back({entry.fd(), entry.id(), (entry.flags() & FD_CLOEXEC) != 0});
    }
    std::sort(fds.begin(), fds.end(), [](const auto& a, const auto& b) { return a.fd < b.fd; });
    auto twice =
        std::adjacent_find(fds.begin(), fds.end(), [](const auto& a, const auto& b) { return a.fd == b.fd; });
    if (twice != fds.end())
        reader->report(FindingKind::damaged, fmt::format("descriptor {} appears twice", twice->fd));
    return fds;
}

// Adds what has a file other than a process: a fifo or a terminal its path, a file without a name the link that CRIU made
// for it, a packet the descriptors in it; and sockets outside of the dump, which only stand for themselves.
void add_files_of_files(const ImageSource& source, const std::map<uint32_t, File>& files,
                        std::set<uint32_t>& used) {
    for (const auto& [id, file] : files) {
        if (file.details.path_id) used.insert(*file.details.path_id);
        if (file.details.is_external) used.insert(id);
    }
    Findings ignored;  // the same images, reported by those who read them for what they say
    if (source.open("remap-fpath.img")) {
        auto reader = ImageReader::open(source, "remap-fpath.img", image_kind("REMAP_FPATH"), ignored);
        criu::remap_file_path_entry remap;
        while (reader && reader->next(remap)) {
            if (remap.remap_type() == criu::LINKED) used.insert(remap.remap_id());
        }
    }
    for (const Queue& queue : load_queues(source, ignored))
        used.insert(queue.descriptors.begin(), queue.descriptors.end());
}

// A table of descriptors does not say how many there are, and CRIU makes no image for one that is empty. So what was
// cut off or lost shows only in open files that nobody has.
void check_files_have_owners(const ImageSource& source, const std::map<uint32_t, File>& files,
                             const std::vector<Process>& processes, std::set<uint32_t> used,
                             Findings& findings) {
    if (processes.empty()) return;
    if (!source.open("files.img")) return;  // before CRIU 3.4 files have images by their kind
    std::set<std::string> absent, present;
    for (const Process& process : processes) {
        for (const FileDescriptor& fd : process.fds) used.insert(fd.file_id);
        for (const Mapping& mapping : process.mappings) {
            if (mapping.file_id) used.insert(*mapping.file_id);
        }
        if (process.state == ProcessState::zombie || !process.ids) continue;
        std::string image = image_file_name(image_kind("FDINFO"), process.ids->files);
        (source.open(image) ? present : absent).insert(image);
    }
    auto has_none = [&](const auto& file) { return !used.contains(file.first); };
    if (std::none_of(files.begin(), files.end(), has_none)) return;
    add_files_of_files(source, files, used);
    auto orphan = std::find_if(files.begin(), files.end(), has_none);
    if (orphan == files.end()) return;
    auto count = std::count_if(orphan, files.end(), has_none);
    std::string which = count == 1 ? fmt::format("file {} belongs", orphan->first)
                                   : fmt::format("file {} and {} more belong", orphan->first, count - 1);
    for (const std::string& image : absent) {
        add_finding(findings, {FindingKind::absent,
                               image,
                               {},
                               fmt::format("this image is not there, and {} to nobody that is", which)});
    }
    if (!absent.empty()) return;
    add_finding(
        findings,
        {FindingKind::truncated,
         present.size() == 1 ? *present.begin() : "fdinfo-*.img",
         {},
         fmt::format("{} to no process, by a descriptor or otherwise: something was cut off", which)});
}

}  // namespace

std::vector<Process> load_processes(const ImageSource& source, const std::map<uint32_t, File>& files,
                                    Architecture& architecture, Findings& findings) {
    std::vector<Process> processes = order_tree(read_tree(source, findings), findings);
    std::map<uint32_t, std::vector<FileDescriptor>> tables;  // by files id: processes may share one
    std::set<uint32_t> used;  // files by id that processes have other than by a descriptor
    size_t fds_left = k_fds_limit;
    for (Process& process : processes) {
        load_cores(source, process, architecture, findings);
        if (process.state == ProcessState::zombie) continue;
        const ImageKind& ids_kind = image_kind("IDS");
        std::string ids_image = image_file_name(ids_kind, process.pid.value);
        criu::task_kobj_ids_entry ids;
        // Images of the very first versions have them in the core only.
        bool in_core = process.ids.has_value() && source.open(ids_image) == nullptr;
        if (!in_core && read_single(source, ids_image, ids_kind, ids, findings)) process.ids = make_ids(ids);
        if (!process.credentials) read_old_credentials(source, process, findings);
        if (process.limits.empty()) read_old_limits(source, process, findings);
        load_memory(source, files, process, used, findings);
        load_fs(source, files, process, used, findings);
        if (!process.ids) continue;
        auto [table, is_new] = tables.try_emplace(process.ids->files);
        if (is_new) table->second = load_fds(source, process.ids->files, files, fds_left, findings);
        if (table->second.size() > fds_left) {
            add_finding(
                findings,
                {FindingKind::damaged,
                 "",
                 {},
                 fmt::format("more than {} open descriptors in all; those of process {} are not shown",
                             k_fds_limit, process.pid.value)});
            continue;
        }
        fds_left -= table->second.size();
        process.fds = table->second;
    }
    check_files_have_owners(source, files, processes, std::move(used), findings);
    return processes;
}

}  // namespace cprewind::images

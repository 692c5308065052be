#include "images/checkpoint.h"

#include <fmt/format.h>

#include <set>

#include "images/companions.h"
#include "images/files.h"
#include "images/image_check.h"
#include "images/image_reader.h"
#include "images/processes.h"
#include "images/proto/process.pb.h"
#include "images/proto/system.pb.h"

namespace cprewind::images {

namespace {

Inventory load_inventory(const ImageSource& source, Findings& findings) {
    Inventory out;
    criu::inventory_entry entry;
    if (!read_single(source, "inventory.img", image_kind("INVENTORY"), entry, findings)) return out;
    if (entry.has_img_version()) out.image_version = entry.img_version();
    if (entry.has_lsmtype()) {
        out.lsm = entry.lsmtype() == criu::SELINUX    ? "selinux"
                  : entry.lsmtype() == criu::APPARMOR ? "apparmor"
                                                      : "none";
    }
    if (entry.has_dump_uptime()) out.dump_uptime_us = entry.dump_uptime();
    if (entry.has_dump_criu_run_id()) out.criu_run_id = entry.dump_criu_run_id();
    const auto& plugins = entry.plugins_entry().plugins();
    out.plugins.assign(plugins.begin(), plugins.end());
    out.network_locked_by_nftables = entry.network_lock_method() == 2;  // NETWORK_LOCK_NFTABLES of CRIU
    // 3 came with compressed pages (criu-dev, 2026).
    if (out.image_version.value_or(3) > 3) {
        add_finding(findings, {FindingKind::unknown,
                               "inventory.img",
                               {},
                               fmt::format("images of version {}; this version of cprewind knows 1 to 3",
                                           *out.image_version)});
    }
    return out;
}

std::optional<DumpStatistics> load_statistics(const ImageSource& source, Findings& findings) {
    // Docker keeps it elsewhere, so its absence says nothing.
    if (source.open("stats-dump") == nullptr) return std::nullopt;
    criu::stats_entry entry;
    if (!read_single(source, "stats-dump", image_kind("STATS"), entry, findings) || !entry.has_dump()) {
        return std::nullopt;
    }
    const criu::dump_stats_entry& dump = entry.dump();
    using std::chrono::microseconds;
    DumpStatistics out;
    out.freezing = microseconds(dump.freezing_time());
    out.frozen = microseconds(dump.frozen_time());
    out.memory_dump = microseconds(dump.memdump_time());
    out.memory_write = microseconds(dump.memwrite_time());
    out.pages_scanned = dump.pages_scanned();
    out.pages_skipped_parent = dump.pages_skipped_parent();
    out.pages_written = dump.pages_written();
    out.pages_lazy = dump.pages_lazy();
    out.shared_pages_scanned = dump.shpages_scanned();
    out.shared_pages_skipped_parent = dump.shpages_skipped_parent();
    out.shared_pages_written = dump.shpages_written();
    return out;
}

std::string filesystem_name(const criu::mnt_entry& mount) {
    if (!mount.fsname().empty()) return mount.fsname();
    switch (mount.fstype()) {
        case criu::PROC:
            return "proc";
        case criu::SYSFS:
            return "sysfs";
        case criu::DEVTMPFS:
            return "devtmpfs";
        case criu::BINFMT_MISC:
            return "binfmt_misc";
        case criu::TMPFS:
            return "tmpfs";
        case criu::DEVPTS:
            return "devpts";
        case criu::SIMFS:
            return "simfs";
        case criu::PSTORE:
            return "pstore";
        case criu::SECURITYFS:
            return "securityfs";
        case criu::FUSECTL:
            return "fusectl";
        case criu::DEBUGFS:
            return "debugfs";
        case criu::CGROUP:
            return "cgroup";
        case criu::AUFS:
            return "aufs";
        case criu::MQUEUE:
            return "mqueue";
        case criu::FUSE:
            return "fuse";
        case criu::OVERLAYFS:
            return "overlay";
        case criu::AUTOFS:
            return "autofs";
        case criu::TRACEFS:
            return "tracefs";
        case criu::CGROUP2:
            return "cgroup2";
        case criu::AUTO:
        case criu::UNSUPPORTED:
            break;
    }
    return "unknown";
}

void load_mounts(const ImageSource& source, std::string_view image, uint64_t ns, Checkpoint& checkpoint) {
    auto reader = ImageReader::open(source, image, image_kind("MNTS"), checkpoint.findings);
    criu::mnt_entry entry;
    while (reader && reader->next(entry)) {
        Mount mount;
        mount.id = entry.mnt_id();
        mount.parent_id = entry.parent_mnt_id();
        mount.namespace_id = static_cast<uint32_t>(ns);
        mount.filesystem = filesystem_name(entry);
        mount.mountpoint = entry.mountpoint();
        // CRIU writes "./proc" for "/proc".
        if (mount.mountpoint.starts_with("./")) mount.mountpoint.erase(0, 1);
        if (mount.mountpoint == ".") mount.mountpoint = "/";
        mount.root = entry.root();
        mount.source = entry.source();
        mount.options = entry.options();
        mount.flags = entry.flags();
        mount.device = entry.root_dev();
        mount.shared_id = entry.shared_id();
        mount.master_id = entry.master_id();
        mount.external = entry.ext_mount() || entry.has_ext_key();
        checkpoint.mounts.push_back(std::move(mount));
    }
}

// Images of things that no process in pstree.img explains: an image was cut, or a process was hidden.
void check_strays(const std::vector<std::string>& names, Checkpoint& checkpoint) {
    std::set<uint64_t> tids, pids, tables;
    for (const Process& process : checkpoint.processes) {
        pids.insert(process.pid.value);
        if (process.ids) tables.insert(process.ids->files);
        for (const Thread& thread : process.threads) tids.insert(thread.tid.value);
    }
    std::set<uint64_t> cores;
    auto report = [&](const std::string& name, const char* message) {
        add_finding(checkpoint.findings, {FindingKind::damaged, name, {}, message});
    };
    for (const std::string& name : names) {
        auto found = find_image_kind(name);
        if (!found || std::string_view(found->kind->name) != "CORE") continue;
        cores.insert(found->number);
        if (!tids.contains(found->number)) report(name, "a thread that pstree.img does not have");
    }
    for (const std::string& name : names) {
        auto found = find_image_kind(name);
        if (!found) continue;
        std::string_view kind = found->kind->name;
        bool of_process = kind == "MM" || kind == "IDS" || kind == "FS" || kind == "PAGEMAP";
        // Of one that left a core, too, that has been said.
        if (of_process && !pids.contains(found->number) && !cores.contains(found->number))
            report(name, "of a process that pstree.img does not have");
        if (kind == "FDINFO" && !tables.contains(found->number))
            report(name, "a table of descriptors that no process has");
    }
}

// Every file of the checkpoint is looked at, also those that are no part of the model.
void check_files(const ImageSource& source, const std::vector<std::string>& names, Findings& findings) {
    for (const std::string& name : names) {
        if (name == "cipher.img") {
            add_finding(findings, {FindingKind::unknown,
                                   name,
                                   {},
                                   "the images are encrypted; this version of cprewind cannot read them"});
        } else if (auto found = find_image_kind(name)) {
            if (found->kind->payload == Payload::pagemap) {
                // The rest is read when memory is looked at.
                check_head(source, name, *found->kind, findings);
            } else if (!is_in_model(*found->kind)) {
                check_image(source, name, *found->kind, findings);
            }
        } else if (name.ends_with(".img") && name.find('/') == std::string::npos) {
            add_finding(findings, {FindingKind::unknown, name, {}, "no image of CRIU has this name"});
        }
    }
}

}  // namespace

Checkpoint load_checkpoint(const ImageSource& source) {
    Checkpoint checkpoint;
    std::vector<std::string> names = source.list();
    checkpoint.inventory = load_inventory(source, checkpoint.findings);
    checkpoint.files = load_files(source, checkpoint.findings);
    checkpoint.processes =
        load_processes(source, checkpoint.files, checkpoint.architecture, checkpoint.findings);
    for (const std::string& name : names) {
        auto found = find_image_kind(name);
        if (!found) continue;
        std::string_view kind = found->kind->name;
        if (kind == "MNTS") load_mounts(source, name, found->number, checkpoint);
        if (kind == "UTSNS") {
            criu::utsns_entry uts;
            bool read = read_single(source, name, *found->kind, uts, checkpoint.findings);
            if (read && !checkpoint.hostname) checkpoint.hostname = uts.nodename();
        }
    }
    checkpoint.statistics = load_statistics(source, checkpoint.findings);
    check_strays(names, checkpoint);
    check_companions(source, checkpoint);
    check_files(source, names, checkpoint.findings);
    return checkpoint;
}

bool is_in_model(const ImageKind& kind) {
    static const std::set<std::string_view> k_read = {"INVENTORY",
                                                      "PSTREE",
                                                      "CORE",
                                                      "IDS",
                                                      "MM",
                                                      "FS",
                                                      "FDINFO",
                                                      "FILES",
                                                      "MEMFD_INODE",
                                                      "TTY_INFO",
                                                      "REMAP_FPATH",
                                                      "MNTS",
                                                      "UTSNS",
                                                      "STATS",
                                                      "PAGEMAP",
                                                      "SHMEM_PAGEMAP",
                                                      "VMAS",
                                                      "CREDS",
                                                      "RLIMIT",
                                                      "REG_FILES",
                                                      "PIPES",
                                                      "FIFO",
                                                      "UNIXSK",
                                                      "INETSK",
                                                      "PACKETSK",
                                                      "NETLINK_SK",
                                                      "EVENTFD_FILE",
                                                      "EVENTPOLL_FILE",
                                                      "EVENTPOLL_TFD",
                                                      "SIGNALFD",
                                                      "INOTIFY_FILE",
                                                      "INOTIFY_WD",
                                                      "FANOTIFY_FILE",
                                                      "FANOTIFY_MARK",
                                                      "TTY_FILES",
                                                      "TUNFILE",
                                                      "EXT_FILES",
                                                      "NS_FILES",
                                                      "TIMERFD",
                                                      "BPFMAP_FILE",
                                                      "PIDFD"};
    return k_read.contains(kind.name);
}

bool is_checkpoint(const ImageSource& source) {
    return source.open("inventory.img") != nullptr || source.open("pstree.img") != nullptr;
}

std::vector<std::string> PrefixedSource::list() const {
    std::vector<std::string> names;
    for (const std::string& name : source_.list()) {
        if (!name.starts_with(prefix_) || name.size() == prefix_.size()) continue;
        // As in a directory: the checkpoint it builds on is opened by name, but is no part of it.
        if (name.compare(prefix_.size(), 7, "parent/") != 0) names.push_back(name.substr(prefix_.size()));
    }
    return names;
}

std::unique_ptr<ImageFile> PrefixedSource::open(std::string_view name) const {
    return source_.open(prefix_ + std::string(name));
}

}  // namespace cprewind::images

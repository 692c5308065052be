#include "inspect/surroundings.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include "images/image_kinds.h"

namespace cprewind::inspect {

namespace {

void say_absent(images::Findings& findings, std::string image, std::string message) {
    images::add_finding(findings, {images::FindingKind::absent, std::move(image), {}, std::move(message)});
}

using Id = std::optional<uint32_t> images::ObjectIds::*;
struct Kind {
    const char* name;
    Id id;
};
constexpr Kind k_kinds[] = {
    {"mnt", &images::ObjectIds::mnt_ns},       {"pid", &images::ObjectIds::pid_ns},
    {"net", &images::ObjectIds::net_ns},       {"ipc", &images::ObjectIds::ipc_ns},
    {"uts", &images::ObjectIds::uts_ns},       {"user", &images::ObjectIds::user_ns},
    {"cgroup", &images::ObjectIds::cgroup_ns}, {"time", &images::ObjectIds::time_ns},
};

}  // namespace

NamespaceView list_namespaces(Moment moment) {
    NamespaceView view;
    std::map<std::pair<std::string, uint64_t>, size_t> index;
    auto row_of = [&](const std::string& kind, uint64_t id) -> NamespaceRow& {
        auto [place, is_new] = index.try_emplace({kind, id}, view.rows.size());
        if (is_new) view.rows.push_back({kind, id, {}, {}});
        return view.rows[place->second];
    };
    bool any = false;
    for (const Kind& kind : k_kinds) {
        for (const images::Process& process : moment.checkpoint.processes) {
            if (!process.ids) continue;
            any = true;
            const std::optional<uint32_t>& id = process.ids.value().*kind.id;
            if (id) row_of(kind.name, *id).processes.push_back(process.pid);
        }
    }
    for (images::NamespaceDetails& details : images::load_namespaces(moment.source, view.findings)) {
        // timens-0.img is about the one time namespace of all, whatever its number.
        uint64_t id = details.id;
        if (details.kind == "time" && id == 0) {
            auto time = std::find_if(view.rows.begin(), view.rows.end(),
                                     [](const NamespaceRow& row) { return row.kind == "time"; });
            if (time != view.rows.end()) id = time->id;
        }
        NamespaceRow& row = row_of(details.kind, id);
        row.details = std::move(details);
    }
    if (!any) say_absent(view.findings, "ids-*.img", "no image tells in which namespaces the processes were");
    return view;
}

CgroupView list_cgroups(Moment moment) {
    CgroupView view;
    if (!moment.source.open("cgroup.img")) {
        say_absent(view.findings, "cgroup.img", "the control groups were not dumped");
        return view;
    }
    images::Cgroups groups = images::load_cgroups(moment.source, view.findings);
    view.properties = std::move(groups.properties);
    std::map<uint32_t, const images::CgroupSet*> by_id;
    for (const images::CgroupSet& set : groups.sets) by_id[set.id] = &set;
    for (const images::Process& process : moment.checkpoint.processes) {
        if (process.state == images::ProcessState::zombie) continue;
        std::optional<uint32_t> leader = process.threads.front().details.cgroup_set;
        for (const images::Thread& thread : process.threads) {
            bool first = &thread == &process.threads.front();
            if (!thread.details.cgroup_set || (!first && thread.details.cgroup_set == leader)) continue;
            CgroupRow row{process.pid, thread.tid, process.comm, {}};
            auto set = by_id.find(*thread.details.cgroup_set);
            if (set != by_id.end()) row.groups = set->second->members;
            view.rows.push_back(std::move(row));
        }
    }
    return view;
}

LockView list_locks(Moment moment) {
    LockView view;
    for (images::FileLock& lock : images::load_locks(moment.source, view.findings)) {
        LockRow row;
        row.lock = std::move(lock);
        const images::Process* process =
            row.lock.pid > 0
                ? moment.checkpoint.find_process(images::DumpPid{static_cast<uint32_t>(row.lock.pid)})
                : nullptr;
        if (process != nullptr) {
            row.comm = process->comm;
            for (const images::FileDescriptor& descriptor : process->fds) {
                if (static_cast<int64_t>(descriptor.fd) != row.lock.fd) continue;
                const images::File* file = moment.checkpoint.find_file(descriptor.file_id);
                if (file != nullptr) row.path = file->description;
            }
        }
        view.rows.push_back(std::move(row));
    }
    return view;
}

IpcView list_ipc(Moment moment) {
    IpcView view;
    view.ipc = images::load_ipc(moment.source, view.findings);
    // Of each namespace that was dumped CRIU writes the limits; objects only where there are any.
    const images::ImageKind& limits = images::image_kind("IPC_VAR");
    std::set<std::string> absent;
    for (const char* kind : {"IPCNS_SHM", "IPCNS_SEM", "IPCNS_MSG"}) {
        for (uint64_t number : images::numbers_of(moment.source, kind)) {
            std::string image = images::image_file_name(limits, number);
            if (!moment.source.open(image)) absent.insert(std::move(image));
        }
    }
    for (const std::string& image : absent)
        say_absent(view.findings, image, "it is not there, though objects of its IPC namespace are");
    return view;
}

NetView list_net(Moment moment) {
    NetView view;
    view.network = images::load_network(moment.source, view.findings);
    images::Findings ignored;  // the same images, reported above or by `namespaces`
    for (images::NamespaceDetails& details : images::load_namespaces(moment.source, ignored)) {
        if (details.kind != "net") continue;
        if (details.external_key) {
            view.external.push_back(std::move(details));
            continue;
        }
        // A network that was dumped has a loopback at least, and heads of lists where these are empty.
        for (const char* kind : {"NETDEV", "IFADDR", "ROUTE"}) {
            std::string image = images::image_file_name(images::image_kind(kind), details.id);
            if (moment.source.open(image)) continue;
            say_absent(view.findings, image,
                       fmt::format("it is not there, though {} says that this network was dumped",
                                   images::image_file_name(images::image_kind("NETNS"), details.id)));
        }
    }
    return view;
}

MountView list_mounts(Moment moment) {
    MountView view;
    view.mounts = &moment.checkpoint.mounts;
    if (view.mounts->empty()) say_absent(view.findings, "mountpoints-*.img", "no mounts were dumped");
    return view;
}

StatsView list_stats(Moment moment) {
    StatsView view;
    view.dump = moment.checkpoint.statistics;
    view.restore = images::load_restore_statistics(moment.source, view.findings);
    if (!view.dump && !view.restore) {
        say_absent(view.findings, "stats-dump",
                   "CRIU's statistics are not here: it leaves them in its working directory");
    }
    return view;
}

}  // namespace cprewind::inspect

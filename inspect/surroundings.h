// What the processes live in: namespaces, control groups, locks, IPC, network. A view that cannot tell for want of
// an image says so with a finding; where CRIU writes no image because there is nothing to write, it is just empty.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "images/ipc.h"
#include "images/network.h"
#include "images/system.h"
#include "inspect/moment.h"

namespace cprewind::inspect {

struct NamespaceRow {
    std::string kind;  // "pid", "net", "ipc", "uts", "mnt", "user", "cgroup", "time"
    uint64_t id = 0;   // CRIU's number for it
    std::vector<images::DumpPid> processes;
    std::optional<images::NamespaceDetails> details;
};
struct NamespaceView {
    std::vector<NamespaceRow> rows;
    images::Findings findings;
};
NamespaceView list_namespaces(Moment moment);

struct CgroupRow {
    images::DumpPid pid;
    images::DumpPid tid;
    std::string comm;
    std::vector<images::CgroupMember> groups;
};
struct CgroupView {
    std::vector<CgroupRow> rows;  // leaders, and threads that are elsewhere
    std::vector<images::CgroupProperty> properties;
    images::Findings findings;
};
CgroupView list_cgroups(Moment moment);

struct LockRow {
    images::FileLock lock;
    std::string comm;
    std::string path;  // what its descriptor leads to
};
struct LockView {
    std::vector<LockRow> rows;
    images::Findings findings;
};
LockView list_locks(Moment moment);

struct IpcView {
    images::Ipc ipc;  // not `found`: the processes had no IPC namespace of their own
    images::Findings findings;
};
IpcView list_ipc(Moment moment);

struct NetView {
    images::Network network;  // not `found`: it was the host's, or is made anew by who restores
    std::vector<images::NamespaceDetails> external;  // namespaces that were not dumped but are joined again
    images::Findings findings;
};
NetView list_net(Moment moment);

struct MountView {
    const std::vector<images::Mount>* mounts = nullptr;  // the checkpoint's
    images::Findings findings;
};
MountView list_mounts(Moment moment);

struct StatsView {
    std::optional<images::DumpStatistics> dump;
    std::optional<images::RestoreStatistics> restore;
    images::Findings findings;
};
StatsView list_stats(Moment moment);

}  // namespace cprewind::inspect

// Readers of images about what surrounds the processes: seccomp filters, control groups, file locks, namespaces,
// statistics of a restore. Each is read only when somebody asks. An image that is absent gives an empty answer; whether
// that is odd, the caller knows.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "images/finding.h"
#include "images/image_source.h"

namespace cprewind::images {

// Numbers of the images of that kind ("MNTS", "NETDEV"), sorted.
std::vector<uint64_t> numbers_of(const ImageSource& source, std::string_view kind);

struct SeccompFilter {
    std::string program;               // struct sock_filter, one after another
    std::optional<uint32_t> previous;  // index of the filter that it was put on; always smaller
    uint32_t flags = 0;                // SECCOMP_FILTER_FLAG_*
};
std::vector<SeccompFilter> load_seccomp(const ImageSource& source, Findings& findings);

struct CgroupMember {
    std::string controllers;  // "cpu,cpuacct", "name=systemd"; "" for the unified hierarchy
    std::string path;
};
struct CgroupSet {
    uint32_t id = 0;
    std::vector<CgroupMember> members;
};
struct CgroupProperty {
    std::string controllers;
    std::string path;
    std::string name;
    std::string value;
};
struct Cgroups {
    std::vector<CgroupSet> sets;
    std::vector<CgroupProperty> properties;
};
Cgroups load_cgroups(const ImageSource& source, Findings& findings);

enum class LockKind { posix, flock, ofd, lease, unknown };
const char* name_of(LockKind kind);

struct FileLock {
    LockKind kind = LockKind::unknown;
    std::string type;  // "read", "write", "unlock", "mandatory …"
    int32_t pid = 0;
    int32_t fd = 0;
    int64_t start = 0;
    std::optional<int64_t> length;  // absent: to the end of the file
};
std::vector<FileLock> load_locks(const ImageSource& source, Findings& findings);

struct IdRange {
    uint32_t inside = 0, outside = 0, count = 0;
};
// What images tell about one namespace; `id` is that of ObjectIds.
struct NamespaceDetails {
    std::string kind;  // "uts", "user", "time", "pid", "net", "mnt", "ipc"
    uint64_t id = 0;
    std::optional<std::string> hostname, domainname;   // uts
    std::vector<IdRange> uids, gids;                   // user
    std::optional<int64_t> monotonic_ns, boottime_ns;  // time: offsets
    std::optional<std::string> external_key;           // pid, net: not dumped, joined again under this key
};
std::vector<NamespaceDetails> load_namespaces(const ImageSource& source, Findings& findings);

// stats-restore, as CRIU leaves it when it restored this checkpoint.
struct RestoreStatistics {
    uint64_t forking_us = 0;
    uint64_t restore_us = 0;
    uint64_t pages_compared = 0;
    uint64_t pages_skipped_cow = 0;
    uint64_t pages_restored = 0;
};
std::optional<RestoreStatistics> load_restore_statistics(const ImageSource& source, Findings& findings);

}  // namespace cprewind::images

#include "inspect/creds.h"

#include <linux/capability.h>
#include <linux/filter.h>

#include <set>

#include "images/system.h"
#include "inspect/bpf.h"

namespace cprewind::inspect {

namespace {

constexpr uint64_t bit(unsigned capability) {
    return uint64_t{1} << capability;
}

}  // namespace

const uint64_t k_docker_capabilities =
    bit(CAP_CHOWN) | bit(CAP_DAC_OVERRIDE) | bit(CAP_FSETID) | bit(CAP_FOWNER) | bit(CAP_MKNOD) |
    bit(CAP_NET_RAW) | bit(CAP_SETGID) | bit(CAP_SETUID) | bit(CAP_SETFCAP) | bit(CAP_SETPCAP) |
    bit(CAP_NET_BIND_SERVICE) | bit(CAP_SYS_CHROOT) | bit(CAP_KILL) | bit(CAP_AUDIT_WRITE);

CredsView list_creds(Moment moment) {
    CredsView view;
    std::vector<images::SeccompFilter> filters = images::load_seccomp(moment.source, view.findings);
    std::set<uint32_t> used;
    for (const images::Process& process : moment.checkpoint.processes) {
        for (const images::Thread& thread : process.threads) {
            bool leader = thread.tid == process.pid;
            auto own = process.other_credentials.find(thread.tid);
            const images::Thread& first = process.threads.front();
            bool same_filters = thread.details.seccomp_filter == first.details.seccomp_filter &&
                                thread.seccomp_mode == first.seccomp_mode;
            if (!leader && own == process.other_credentials.end() && same_filters) continue;
            if (!process.credentials) continue;
            CredsRow row;
            row.pid = process.pid;
            row.tid = thread.tid;
            row.comm = thread.comm.empty() ? process.comm : thread.comm;
            row.credentials = own != process.other_credentials.end() ? own->second : *process.credentials;
            row.seccomp_mode = thread.seccomp_mode;
            row.loginuid = process.loginuid;
            row.child_subreaper = process.details.child_subreaper;
            constexpr uint32_t k_filter_mode = 2;
            auto index = thread.details.seccomp_filter;
            bool filtered = thread.seccomp_mode == k_filter_mode;
            // Each comes after the one it was put on, so this ends.
            while (filtered && index && *index < filters.size()) {
                row.seccomp_filters.push_back(*index);
                used.insert(*index);
                index = filters[*index].previous;
            }
            view.rows.push_back(std::move(row));
        }
    }
    for (uint32_t index : used) {
        const images::SeccompFilter& filter = filters[index];
        view.filters.push_back({index, filter.flags, filter.program.size() / sizeof(sock_filter),
                                disassemble_seccomp(filter.program, moment.checkpoint.architecture)});
    }
    return view;
}

}  // namespace cprewind::inspect

#include "inspect/overview.h"

#include <set>

#include "images/ghosts.h"
#include "images/page_counts.h"
#include "images/pages.h"
#include "images/queues.h"
#include "images/system.h"
#include "inspect/surroundings.h"

namespace cprewind::inspect {

namespace {

// TCP_* of the kernel, which all socket families use.
constexpr uint32_t k_established = 1;
constexpr uint32_t k_listen = 10;

uint64_t size_of_images(const images::ImageSource& source) {
    uint64_t bytes = 0;
    for (const std::string& name : source.list()) {
        if (auto file = source.open(name)) bytes += file->size();
    }
    return bytes;
}

void count_files(const images::Checkpoint& checkpoint, Overview& out) {
    std::set<uint32_t> open;
    for (const images::Process& process : checkpoint.processes) {
        for (const images::FileDescriptor& descriptor : process.fds) open.insert(descriptor.file_id);
    }
    out.open_files = open.size();
    for (uint32_t id : open) {
        const images::File* file = checkpoint.find_file(id);
        ++out.files_by_kind[images::name_of(file ? file->kind : images::FileKind::unknown)];
        if (file == nullptr || !file->socket) continue;
        if (file->socket->state == k_listen) ++out.listening_sockets;
        if (file->socket->state == k_established) ++out.established_sockets;
    }
}

void count_memory(Moment moment, Overview& out) {
    // Also those that nobody maps: memfds, segments that nobody is attached to.
    std::set<uint64_t> objects;
    for (uint64_t number : images::numbers_of(moment.source, "SHMEM_PAGEMAP")) objects.insert(number);
    for (const images::Process& process : moment.checkpoint.processes) {
        if (process.state == images::ProcessState::zombie) continue;
        out.dumped_bytes +=
            images::PageMap::open_process(moment.source, process.pid, out.findings).present_bytes();
        for (const images::Mapping& mapping : process.mappings) {
            out.mapped_bytes += mapping.size();
            if (mapping.has_object()) objects.insert(mapping.shmid);
        }
    }
    for (uint64_t object : objects) {
        out.dumped_bytes += images::PageMap::open_shared(moment.source, object, out.findings).present_bytes();
    }
}

// What only the views read, they report; here they are asked for nothing else.
void ask_views(Moment moment, images::Findings& findings) {
    images::Findings more;
    images::load_ghosts(moment.source, more);
    images::load_queues(moment.source, more);
    images::load_seccomp(moment.source, more);
    images::load_restore_statistics(moment.source, more);
    images::add_new_findings(findings, more);
    images::add_new_findings(findings, list_ipc(moment).findings);
    images::add_new_findings(findings, list_net(moment).findings);
}

}  // namespace

Overview make_overview(Moment moment) {
    const images::Checkpoint& checkpoint = moment.checkpoint;
    Overview out;
    out.hostname = checkpoint.hostname;
    out.architecture = images::name_of(checkpoint.architecture);
    out.image_version = checkpoint.inventory.image_version;
    if (!checkpoint.processes.empty()) out.root_command = checkpoint.processes.front().comm;
    out.processes = checkpoint.processes.size();
    for (const images::Process& process : checkpoint.processes) {
        out.threads += process.threads.size();
        if (process.state == images::ProcessState::zombie) ++out.zombies;
    }
    out.mounts = checkpoint.mounts.size();
    out.statistics = checkpoint.statistics;
    out.image_bytes = size_of_images(moment.source);
    out.findings = checkpoint.findings;
    count_files(checkpoint, out);
    count_memory(moment, out);
    images::check_page_counts(moment.source, checkpoint.statistics, out.findings);
    ask_views(moment, out.findings);
    return out;
}

}  // namespace cprewind::inspect

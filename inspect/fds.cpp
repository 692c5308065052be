#include "inspect/fds.h"

#include <fcntl.h>

#include <map>

namespace cprewind::inspect {

std::string flag_names(uint32_t flags) {
    struct Name {
        uint32_t flag;
        const char* name;
    };
    // The numbers of x86 and most others; O_LARGEFILE says nothing and is left out. O_DIRECTORY and
    // O_NOFOLLOW differ on arm and are left out, too.
    constexpr Name k_names[] = {
        {O_APPEND, "append"}, {O_NONBLOCK, "nonblock"}, {O_ASYNC, "async"},
        {O_PATH, "path"},     {O_DSYNC, "sync"},
    };
    std::string text = (flags & O_ACCMODE) == O_RDONLY ? "r" : (flags & O_ACCMODE) == O_WRONLY ? "w" : "rw";
    for (const Name& each : k_names) {
        if ((flags & each.flag) != 0) text += std::string(",") + each.name;
    }
    return text;
}

uint64_t queue_key(const images::File& file, images::QueueKind kind) {
    switch (kind) {
        case images::QueueKind::packet:
            return file.id;
        case images::QueueKind::tty:
            return file.details.tty_id.value_or(0);
        default:
            return file.object;
    }
}

bool receives_from(images::FileKind file, images::QueueKind queue) {
    switch (queue) {
        case images::QueueKind::pipe:
            return file == images::FileKind::pipe;
        case images::QueueKind::fifo:
            return file == images::FileKind::fifo;
        case images::QueueKind::packet:
            return file == images::FileKind::unix_socket || file == images::FileKind::netlink_socket;
        case images::QueueKind::tcp_in:
            return file == images::FileKind::inet_socket;
        case images::QueueKind::tcp_out:
            return false;
        case images::QueueKind::tty:
            return file == images::FileKind::tty;
    }
    return false;
}

std::vector<FdRow> list_fds(Moment moment, images::Findings& findings) {
    std::vector<FdRow> rows = list_fds(moment.checkpoint);
    std::map<std::pair<images::QueueKind, uint64_t>, uint64_t> waiting;
    for (const images::Queue& queue : images::load_queues(moment.source, findings))
        waiting[{queue.kind, queue.object}] += queue.size;
    for (FdRow& row : rows) {
        const images::File* file = moment.checkpoint.find_file(row.file_id);
        if (file == nullptr) continue;
        using images::QueueKind;
        for (QueueKind kind :
             {QueueKind::pipe, QueueKind::fifo, QueueKind::packet, QueueKind::tcp_in, QueueKind::tty}) {
            if (!receives_from(file->kind, kind)) continue;
            auto found = waiting.find({kind, queue_key(*file, kind)});
            if (found != waiting.end()) row.queued_bytes += found->second;
        }
    }
    return rows;
}

std::vector<FdRow> list_fds(const images::Checkpoint& checkpoint) {
    Holders holders = find_holders(checkpoint);
    OtherEnds ends(checkpoint);
    struct Ends {
        std::vector<Holder> shown;
        uint64_t total = 0;
    };
    std::map<uint32_t, Ends> ends_by_file;
    auto ends_of = [&](const images::File& file) -> const Ends& {
        auto [place, is_new] = ends_by_file.try_emplace(file.id);
        if (!is_new) return place->second;
        for (const images::File* other : ends.of(file)) {
            auto held = holders.find(other->id);
            if (held == holders.end()) continue;
            place->second.total += held->second.size();
            for (const Holder& holder : held->second) {
                if (place->second.shown.size() < k_ends_shown) place->second.shown.push_back(holder);
            }
        }
        return place->second;
    };
    std::vector<FdRow> rows;
    for (const images::Process& process : checkpoint.processes) {
        for (const images::FileDescriptor& descriptor : process.fds) {
            FdRow row;
            row.pid = process.pid;
            row.comm = process.comm;
            row.fd = descriptor.fd;
            row.close_on_exec = descriptor.close_on_exec;
            row.file_id = descriptor.file_id;
            if (const images::File* file = checkpoint.find_file(descriptor.file_id)) {
                row.kind = file->kind;
                row.target = file->description;
                row.flags = file->flags;
                row.position = file->position;
                row.size = file->size;
                row.deleted = file->deleted;
                row.mode = file->mode;
                row.details = file->details;
                row.other_ends = ends_of(*file).shown;
                row.ends_total = ends_of(*file).total;
            }
            rows.push_back(std::move(row));
        }
    }
    return rows;
}

}  // namespace cprewind::inspect

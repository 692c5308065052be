#include "inspect/fds.h"

#include <fcntl.h>

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

std::vector<FdRow> list_fds(const images::Checkpoint& checkpoint) {
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
            }
            rows.push_back(std::move(row));
        }
    }
    return rows;
}

}  // namespace cprewind::inspect

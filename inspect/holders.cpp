#include "inspect/holders.h"

#include <fcntl.h>
#include <sys/socket.h>

namespace cprewind::inspect {

namespace {

bool is_pipe(const images::File& file) {
    return file.kind == images::FileKind::pipe || file.kind == images::FileKind::fifo;
}

bool can_write(const images::File& file) {
    return (file.flags & O_ACCMODE) != O_RDONLY;
}
bool can_read(const images::File& file) {
    return (file.flags & O_ACCMODE) != O_WRONLY;
}

bool is_unix(const images::File& file) {
    return file.socket.has_value() && file.kind == images::FileKind::unix_socket;
}

}  // namespace

Holders find_holders(const images::Checkpoint& checkpoint) {
    Holders holders;
    for (const images::Process& process : checkpoint.processes) {
        for (const images::FileDescriptor& descriptor : process.fds)
            holders[descriptor.file_id].push_back({process.pid, descriptor.fd});
    }
    return holders;
}

OtherEnds::OtherEnds(const images::Checkpoint& checkpoint) {
    for (const auto& [id, file] : checkpoint.files) {
        if (is_pipe(file)) pipes_[file.object].push_back(&file);
        if (!is_unix(file)) continue;
        unix_by_inode_[file.socket->inode].push_back(&file);
        if (file.socket->peer_inode != 0) unix_by_peer_[file.socket->peer_inode].push_back(&file);
    }
}

std::vector<const images::File*> OtherEnds::of(const images::File& file) const {
    std::vector<const images::File*> out;
    if (is_pipe(file)) {
        auto found = pipes_.find(file.object);
        if (found == pipes_.end()) return out;
        for (const images::File* other : found->second) {
            bool opposite = (can_write(file) && can_read(*other)) || (can_read(file) && can_write(*other));
            if (other != &file && opposite) out.push_back(other);
        }
    }
    if (is_unix(file)) {
        if (file.socket->peer_inode != 0) {
            auto found = unix_by_inode_.find(file.socket->peer_inode);
            if (found != unix_by_inode_.end()) out = found->second;
        } else {
            // One that many send to does not know them.
            auto found = unix_by_peer_.find(file.socket->inode);
            if (found != unix_by_peer_.end()) out = found->second;
        }
    }
    return out;
}

}  // namespace cprewind::inspect

#include "images/companions.h"

#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <set>
#include <string>

#include "images/image_kinds.h"

namespace cprewind::images {

namespace {

constexpr uint32_t k_closed = 7, k_listen = 10;  // TCP_* of the kernel

void report_absent(Checkpoint& checkpoint, std::string image, std::string message) {
    add_finding(checkpoint.findings, {FindingKind::absent, std::move(image), {}, std::move(message)});
}

bool is_connected(const File& file) {
    if (!file.socket) return false;
    const Socket& socket = file.socket.value();
    bool tcp = (socket.family == AF_INET || socket.family == AF_INET6) && socket.type == SOCK_STREAM &&
               socket.protocol == IPPROTO_TCP;
    return tcp && !socket.remote.empty() && socket.state != k_closed && socket.state != k_listen;
}

// A connection that CRIU was told to close (--tcp-close) has no image, but then none has one.
void check_streams(const ImageSource& source, Checkpoint& checkpoint) {
    const ImageKind& kind = image_kind("TCP_STREAM");
    std::set<std::string> absent;
    bool any = false;
    for (const auto& [id, file] : checkpoint.files) {
        if (!is_connected(file)) continue;
        std::string image = image_file_name(kind, file.socket->inode);
        if (source.open(image)) {
            any = true;
        } else {
            absent.insert(std::move(image));
        }
    }
    if (!any) return;
    for (const std::string& image : absent)
        report_absent(checkpoint, image,
                      "this image is not there, but its connection is among the open files");
}

void check_terminals(Checkpoint& checkpoint) {
    for (const auto& [id, file] : checkpoint.files) {
        if (file.kind != FileKind::tty || file.details.terminal || !file.details.tty_id) continue;
        report_absent(
            checkpoint, "tty-info.img",
            fmt::format("nothing describes terminal {}, which file {} is", *file.details.tty_id, id));
        return;
    }
}

// Since there are time namespaces CRIU writes down the clocks of the one that it dumps.
void check_clocks(const ImageSource& source, Checkpoint& checkpoint) {
    bool known = false;
    for (const Process& process : checkpoint.processes)
        known = known || (process.ids && process.ids.value().time_ns);
    if (!known) return;
    for (const std::string& name : source.list()) {
        auto found = find_image_kind(name);
        if (found && std::string_view(found->kind->name) == "TIMENS") return;
    }
    report_absent(checkpoint, "timens-*.img", "no image has the clocks of the time namespace");
}

}  // namespace

void check_companions(const ImageSource& source, Checkpoint& checkpoint) {
    check_streams(source, checkpoint);
    check_terminals(checkpoint);
    check_clocks(source, checkpoint);
}

}  // namespace cprewind::images

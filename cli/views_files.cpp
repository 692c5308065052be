// Views about files: fds, sockets, locks, and the writable layer.
#include <fmt/format.h>

#include "base/text.h"
#include "cli/json_text.h"
#include "cli/view_tools.h"
#include "inspect/fds.h"
#include "inspect/names.h"
#include "inspect/sockets.h"
#include "inspect/surroundings.h"

namespace cprewind::cli {
namespace {

using base::escape;

Json epoll_json(const std::vector<images::EpollTarget>& targets) {
    Json list = Json::array();
    for (const images::EpollTarget& target : targets) {
        list.push_back(Json{{"fd", target.fd},
                            {"events", inspect::epoll_event_names(target.events)},
                            {"data", hex_number(target.data)}});
    }
    return list;
}

Json watches_json(const std::vector<images::Watch>& watches) {
    Json list = Json::array();
    for (const images::Watch& watch : watches) {
        Json item;
        item["wd"] = or_null(watch.descriptor);
        item["events"] = inspect::watch_event_names(watch.mask);
        item["inode"] = watch.inode;
        item["device"] = watch.device;
        put_bytes(item, "path", watch.path);
        list.push_back(std::move(item));
    }
    return list;
}

Json fd_json(const inspect::FdRow& row) {
    Json item;
    item["pid"] = row.pid.value;
    put_bytes(item, "comm", row.comm);
    item["fd"] = row.fd;
    item["kind"] = images::name_of(row.kind);
    put_bytes(item, "target", row.target);
    item["flags"] = row.flags;
    item["flag_names"] = inspect::flag_names(row.flags);
    item["close_on_exec"] = row.close_on_exec;
    item["position"] = or_null(row.position);
    item["size"] = or_null(row.size);
    item["deleted"] = row.deleted;
    item["file_id"] = row.file_id;
    item["mode"] = row.mode ? Json(fmt::format("{:o}", *row.mode)) : Json();
    item["mount_id"] = or_null(row.details.mount_id);
    item["other_ends"] = holders_json(row.other_ends);
    item["other_ends_total"] = row.ends_total;
    item["queued_bytes"] = row.queued_bytes;
    item["counter"] = or_null(row.details.counter);
    item["epoll"] = epoll_json(row.details.epoll);
    item["watches"] = watches_json(row.details.watches);
    item["signals"] = row.details.signals ? Json(inspect::signal_names(*row.details.signals)) : Json();
    const auto& timer = row.details.timer;
    item["timer"] = timer ? Json{{"clock", inspect::clock_name(timer->clock)},
                                 {"left_ns", timer->left_ns},
                                 {"interval_ns", timer->interval_ns},
                                 {"expired", timer->ticks}}
                          : Json();
    const auto& terminal = row.details.terminal;
    item["terminal"] =
        terminal && terminal->session != 0
            ? Json{{"session", terminal->session}, {"foreground_group", terminal->foreground_group}}
            : Json();
    item["pidfd_pid"] = or_null(row.details.pid);
    item["owner_pid"] = row.details.owner_pid != 0 ? Json(row.details.owner_pid) : Json();
    item["owner_signal"] =
        row.details.owner_signal != 0 ? Json(inspect::signal_name(row.details.owner_signal)) : Json();
    return item;
}

std::string fd_text(const inspect::FdRow& row) {
    std::string text = escape(row.target) + (row.deleted ? " (deleted)" : "");
    if (row.ends_total > 0) {
        text += " <-> " + holders_text(row.other_ends, 4);
        if (row.ends_total > row.other_ends.size()) text += fmt::format(" of {}", row.ends_total);
    }
    if (row.queued_bytes > 0) text += fmt::format(", {} bytes unread", row.queued_bytes);
    return text;
}

Json socket_json(const inspect::SocketRow& row) {
    Json item;
    item["file_id"] = row.file_id;
    item["inode"] = row.inode;
    item["family"] = row.family;
    item["type"] = row.type;
    item["protocol"] = row.protocol;
    item["state"] = row.state.empty() ? Json() : Json(row.state);
    item["listening"] = row.listening;
    put_bytes(item, "local", row.local);
    put_bytes(item, "remote", row.remote);
    item["holders"] = holders_json(row.holders);
    item["peer_inode"] = row.peer_inode != 0 ? Json(row.peer_inode) : Json();
    item["peers"] = holders_json(row.peers);
    item["receive_queue_bytes"] = row.receive_queue_bytes;
    item["send_queue_bytes"] = row.send_queue_bytes;
    item["receive_packets"] = row.receive_packets;
    item["backlog"] = row.backlog;
    item["groups"] = row.groups;
    item["options"] = row.details.options;
    put_bytes(item, "bound_device", row.details.bound_device);
    item["shutdown_read"] = (row.details.shutdown & 1) != 0;
    item["shutdown_write"] = (row.details.shutdown & 2) != 0;
    item["send_buffer_bytes"] = row.details.send_buffer_bytes;
    item["receive_buffer_bytes"] = row.details.receive_buffer_bytes;
    item["packet_filter"] = row.details.has_packet_filter;
    item["net_ns"] = or_null(row.details.net_ns);
    return item;
}

}  // namespace

void show_fds(Context& context, const ViewRequest& request, Json& document, images::Findings& findings) {
    Table table({"pid", "command", "fd", "kind", "mode", "position", "target"});
    table.right({0, 2, 5});
    Json list = Json::array();
    for (const inspect::FdRow& row : inspect::list_fds(request.subject.moment(), findings)) {
        if (!wanted(request, row.pid)) continue;
        if (context.json) {
            list.push_back(fd_json(row));
            continue;
        }
        table.add({std::to_string(row.pid.value), escape(row.comm), std::to_string(row.fd),
                   images::name_of(row.kind),
                   inspect::flag_names(row.flags) + (row.close_on_exec ? ",cloexec" : ""),
                   or_dash(row.position), fd_text(row)});
    }
    if (context.json) {
        document["fds"] = std::move(list);
    } else {
        context.output.table(table);
    }
}

void show_sockets(Context& context, const ViewRequest& request, Json& document, images::Findings& findings) {
    inspect::SocketView view = inspect::list_sockets(request.subject.moment());
    append(findings, view.findings);
    Table table({"proto", "type", "state", "recv-q", "send-q", "local", "remote", "held by", "other end"});
    table.right({3, 4});
    Json list = Json::array();
    for (const inspect::SocketRow& row : view.rows) {
        bool held = !request.pid;
        for (const inspect::Holder& holder : row.holders) held = held || wanted(request, holder.pid);
        if (!held) continue;
        if (context.json) {
            list.push_back(socket_json(row));
            continue;
        }
        bool netlink = row.family == "netlink" || row.family == "packet";
        table.add({netlink                 ? row.family + " " + row.protocol
                   : row.family == "inet6" ? row.protocol + "6"
                                           : row.protocol,
                   row.type, row.state, std::to_string(row.receive_queue_bytes),
                   std::to_string(row.send_queue_bytes),
                   row.local.empty() ? fmt::format("[{}]", row.inode) : escape(row.local),
                   row.remote.empty() && row.peer_inode != 0 ? fmt::format("[{}]", row.peer_inode)
                                                             : escape(row.remote),
                   holders_text(row.holders), row.peers.empty() ? "" : holders_text(row.peers)});
    }
    if (context.json) {
        document["sockets"] = std::move(list);
    } else if (table.empty()) {
        context.output.line("no sockets");
    } else {
        context.output.table(table);
    }
}

void show_locks(Context& context, const ViewRequest& request, Json& document, images::Findings& findings) {
    inspect::LockView view = inspect::list_locks(request.subject.moment());
    append(findings, view.findings);
    Table table({"pid", "command", "fd", "kind", "type", "from", "length", "path"});
    table.right({0, 2, 5, 6});
    Json list = Json::array();
    for (const inspect::LockRow& row : view.rows) {
        if (request.pid && row.lock.pid != static_cast<int64_t>(*request.pid)) continue;
        if (!context.json) {
            table.add({std::to_string(row.lock.pid), escape(row.comm), std::to_string(row.lock.fd),
                       images::name_of(row.lock.kind), row.lock.type, std::to_string(row.lock.start),
                       row.lock.length ? std::to_string(*row.lock.length) : "to the end", escape(row.path)});
            continue;
        }
        Json item;
        item["pid"] = row.lock.pid;
        put_bytes(item, "comm", row.comm);
        item["fd"] = row.lock.fd;
        item["kind"] = images::name_of(row.lock.kind);
        item["type"] = row.lock.type;
        item["start"] = row.lock.start;
        item["length"] = or_null(row.lock.length);
        put_bytes(item, "path", row.path);
        list.push_back(std::move(item));
    }
    if (context.json) {
        document["locks"] = std::move(list);
    } else if (table.empty()) {
        context.output.line("no locks");
    } else {
        context.output.table(table);
    }
}

namespace {

void print_tree(Output& output, const images::LayerTree& tree) {
    Table table({"type", "mode", "uid", "gid", "size", "modified", "path"});
    table.right({2, 3, 4});
    for (const images::LayerEntry& entry : tree.entries) {
        std::string arrow = !entry.link_target.empty()    ? " -> " + escape(entry.link_target)
                            : !entry.hard_link_to.empty() ? " = /" + escape(entry.hard_link_to)
                                                          : "";
        table.add({entry.is_whiteout() ? "whiteout" : images::name_of(entry.type),
                   fmt::format("{:04o}", entry.mode), std::to_string(entry.uid), std::to_string(entry.gid),
                   std::to_string(entry.size),
                   base::local_time(base::WallTime{std::chrono::nanoseconds(entry.mtime_ns)}),
                   "/" + escape(entry.path) + arrow});
    }
    output.table(table);
}

Json tree_json(const images::LayerTree& tree) {
    Json list = Json::array();
    for (const images::LayerEntry& entry : tree.entries) {
        Json item;
        put_bytes(item, "path", "/" + entry.path);
        item["type"] = entry.is_whiteout() ? "whiteout" : images::name_of(entry.type);
        item["mode"] = fmt::format("{:04o}", entry.mode);
        item["uid"] = entry.uid;
        item["gid"] = entry.gid;
        item["size"] = entry.size;
        item["modified"] = base::rfc3339(base::WallTime{std::chrono::nanoseconds(entry.mtime_ns)});
        put_bytes(item, "link_target", entry.link_target);
        put_bytes(item, "hard_link_to", entry.hard_link_to);
        item["sha256"] = entry.digest ? Json(entry.digest->hex()) : Json();
        list.push_back(std::move(item));
    }
    return list;
}

}  // namespace

void show_files(Context& context, const ViewRequest& request, Json& document, images::Findings&) {
    const Subject& subject = request.subject;
    if (context.json) {
        document["files"] = subject.layer ? tree_json(*subject.layer) : Json();
        Json trees = Json::array();
        for (const images::FileTree& tree : subject.trees) {
            Json item;
            put_bytes(item, "name", tree.name);
            put_bytes(item, "destination", tree.destination);
            item["files"] = tree_json(tree.tree);
            trees.push_back(std::move(item));
        }
        document["trees"] = std::move(trees);
        return;
    }
    if (subject.layer) {
        print_tree(context.output, *subject.layer);
    } else {
        context.output.line("this checkpoint has no writable layer with it");
    }
    for (const images::FileTree& tree : subject.trees) {
        context.output.line();
        context.output.line(context.output.paint(Colour::bold, escape(tree.name)) +
                            (tree.destination.empty() ? "" : " at " + escape(tree.destination)));
        print_tree(context.output, tree.tree);
    }
}

}  // namespace cprewind::cli

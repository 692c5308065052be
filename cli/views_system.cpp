// Views about what the processes lived in: mounts, namespaces, cgroups, ipc, net, stats.
#include <fmt/format.h>

#include "base/text.h"
#include "cli/json_text.h"
#include "cli/view_tools.h"
#include "inspect/names.h"
#include "inspect/surroundings.h"

namespace cprewind::cli {
namespace {

using base::escape;

Json ranges_json(const std::vector<images::IdRange>& ranges) {
    Json list = Json::array();
    for (const images::IdRange& range : ranges)
        list.push_back(Json{{"inside", range.inside}, {"outside", range.outside}, {"count", range.count}});
    return list;
}

std::string details_text(const images::NamespaceDetails& details) {
    std::vector<std::string> words;
    if (details.hostname) words.push_back("host " + escape(*details.hostname));
    if (details.domainname && !details.domainname->empty())
        words.push_back("domain " + escape(*details.domainname));
    for (const images::IdRange& range : details.uids)
        words.push_back(fmt::format("uid {}+{} is {} outside", range.inside, range.count, range.outside));
    if (details.monotonic_ns)
        words.push_back(fmt::format("monotonic {:.3f} s", static_cast<double>(*details.monotonic_ns) / 1e9));
    if (details.boottime_ns)
        words.push_back(fmt::format("boottime {:.3f} s", static_cast<double>(*details.boottime_ns) / 1e9));
    if (details.external_key) words.push_back("external " + escape(*details.external_key));
    return base::join(words, ", ");
}

void put_optional(Json& item, const std::string& key, const std::optional<std::string>& text) {
    if (text) {
        put_bytes(item, key, *text);
    } else {
        item[key] = item[key + "_base64"] = nullptr;
    }
}

Json namespace_json(const inspect::NamespaceRow& row) {
    Json item;
    item["kind"] = row.kind;
    item["id"] = row.id;
    Json pids = Json::array();
    for (images::DumpPid pid : row.processes) pids.push_back(pid.value);
    item["pids"] = std::move(pids);
    const images::NamespaceDetails none;
    const images::NamespaceDetails& details = row.details ? *row.details : none;
    put_optional(item, "hostname", details.hostname);
    put_optional(item, "domainname", details.domainname);
    item["uid_map"] = row.kind == "user" && row.details ? ranges_json(details.uids) : Json();
    item["gid_map"] = row.kind == "user" && row.details ? ranges_json(details.gids) : Json();
    item["monotonic_ns"] = or_null(details.monotonic_ns);
    item["boottime_ns"] = or_null(details.boottime_ns);
    put_optional(item, "external_key", details.external_key);
    return item;
}

Json owner_json(const images::IpcOwner& owner) {
    Json item;
    item["ipc_ns"] = owner.ipc_ns;
    item["id"] = owner.id;
    item["key"] = hex_number(owner.key);
    item["uid"] = owner.uid;
    item["gid"] = owner.gid;
    item["creator_uid"] = owner.creator_uid;
    item["creator_gid"] = owner.creator_gid;
    item["mode"] = fmt::format("{:04o}", owner.mode);
    return item;
}

Json ipc_json(const images::Ipc& ipc) {
    Json segments = Json::array(), sets = Json::array(), queues = Json::array(), limits = Json::object();
    for (const images::IpcSegment& segment : ipc.segments) {
        Json item = owner_json(segment.owner);
        item["size"] = segment.size;
        segments.push_back(std::move(item));
    }
    for (const images::IpcSemaphores& set : ipc.semaphores) {
        Json item = owner_json(set.owner);
        item["values"] = set.values;
        sets.push_back(std::move(item));
    }
    for (const images::IpcQueue& queue : ipc.queues) {
        Json item = owner_json(queue.owner);
        item["limit_bytes"] = queue.limit_bytes;
        Json messages = Json::array();
        for (const images::IpcMessage& message : queue.messages) {
            Json one;
            one["type"] = message.type;
            one["size"] = message.text.size();
            put_bytes(one, "text", message.text);
            messages.push_back(std::move(one));
        }
        item["messages"] = std::move(messages);
        queues.push_back(std::move(item));
    }
    for (const auto& [name, value] : ipc.limits) limits[name] = value;
    return {{"dumped", ipc.found},
            {"shared_memory", segments},
            {"semaphores", sets},
            {"queues", queues},
            {"limits", limits}};
}

void print_ipc(Output& output, const images::Ipc& ipc) {
    Table table({"kind", "id", "key", "uid", "mode", "content"});
    table.right({1, 3});
    auto add = [&](const char* kind, const images::IpcOwner& owner, std::string content) {
        table.add({kind, std::to_string(owner.id), hex_number(owner.key), std::to_string(owner.uid),
                   fmt::format("{:04o}", owner.mode), std::move(content)});
    };
    for (const auto& segment : ipc.segments) add("memory", segment.owner, base::human_bytes(segment.size));
    for (const auto& set : ipc.semaphores) {
        std::vector<std::string> values;
        for (uint16_t value : set.values) values.push_back(std::to_string(value));
        add("semaphores", set.owner, some_of(values, 32, " "));
    }
    for (const auto& queue : ipc.queues) {
        std::vector<std::string> texts;
        constexpr size_t k_shown = 64;
        for (const auto& message : queue.messages) {
            texts.push_back(fmt::format("type {} '{}'{}", message.type,
                                        escape(std::string_view(message.text).substr(0, k_shown)),
                                        message.text.size() > k_shown ? "…" : ""));
        }
        add("messages", queue.owner, some_of(texts, 8, ", "));
    }
    if (table.empty()) {
        output.line(ipc.found ? "no System V IPC objects"
                              : "not dumped: the processes had no IPC namespace of their own");
    } else {
        output.table(table);
    }
}

Json net_json(const inspect::NetView& view) {
    Json devices = Json::array(), addresses = Json::array(), routes = Json::array(),
         firewalls = Json::array();
    for (const images::NetDevice& device : view.network.devices) {
        Json item;
        item["net_ns"] = device.net_ns;
        item["index"] = device.index;
        put_bytes(item, "name", device.name);
        item["kind"] = device.kind;
        item["mtu"] = device.mtu;
        item["flags"] = inspect::device_flag_names(device.flags);
        item["address"] = device.address;
        item["peer_index"] = or_null(device.peer_index);
        item["master"] = or_null(device.master);
        devices.push_back(std::move(item));
    }
    for (const images::NetAddress& address : view.network.addresses) {
        Json item;
        item["net_ns"] = address.net_ns;
        item["index"] = address.index;
        put_bytes(item, "label", address.label);
        item["address"] = address.address;
        addresses.push_back(std::move(item));
    }
    for (const images::NetRoute& route : view.network.routes) {
        Json item;
        item["net_ns"] = route.net_ns;
        item["destination"] = route.destination;
        item["gateway"] = route.gateway.empty() ? Json() : Json(route.gateway);
        item["source"] = route.source.empty() ? Json() : Json(route.source);
        item["device"] = or_null(route.device);
        item["metric"] = or_null(route.metric);
        item["table"] = route.table;
        item["type"] = route.type;
        routes.push_back(std::move(item));
    }
    for (const images::FirewallText& firewall : view.network.firewalls) {
        Json item;
        item["net_ns"] = firewall.net_ns;
        item["kind"] = firewall.kind;
        put_bytes(item, "text", firewall.text);
        firewalls.push_back(std::move(item));
    }
    Json external = Json::array();
    for (const images::NamespaceDetails& details : view.external) {
        Json item;
        item["net_ns"] = details.id;
        put_bytes(item, "key", details.external_key.value_or(""));
        external.push_back(std::move(item));
    }
    return {{"dumped", !view.network.devices.empty()},
            {"interfaces", devices},
            {"addresses", addresses},
            {"routes", routes},
            {"firewalls", firewalls},
            {"external", external}};
}

void print_net(Output& output, const inspect::NetView& view) {
    for (const images::NamespaceDetails& details : view.external)
        output.line(fmt::format("network namespace {} is external, and not in the dump: {}", details.id,
                                escape(*details.external_key)));
    if (!view.network.found)
        output.line("not dumped: it was the host's network, or one that is made anew for each restore");
    for (const images::NetDevice& device : view.network.devices) {
        output.line(fmt::format("{}: {} ({}) {} mtu {} {}", device.index, escape(device.name), device.kind,
                                device.address, device.mtu,
                                base::join(inspect::device_flag_names(device.flags), ",")));
        for (const images::NetAddress& address : view.network.addresses) {
            if (address.index == device.index && address.net_ns == device.net_ns)
                output.line("   " + address.address);
        }
    }
    constexpr uint32_t k_main_table = 254;
    for (const images::NetRoute& route : view.network.routes) {
        if (route.table != k_main_table) continue;
        output.line(fmt::format("route {}{}{}", route.destination,
                                route.gateway.empty() ? "" : " via " + route.gateway,
                                route.device ? fmt::format(" device {}", *route.device) : ""));
    }
    for (const images::FirewallText& firewall : view.network.firewalls) {
        output.line(output.paint(Colour::bold, firewall.kind));
        for (const std::string& line : base::split(firewall.text, '\n')) output.line("  " + escape(line));
    }
}

}  // namespace

void show_mounts(Context& context, const ViewRequest& request, Json& document, images::Findings& findings) {
    inspect::MountView view = inspect::list_mounts(request.subject.moment());
    append(findings, view.findings);
    Table table({"mount", "parent", "type", "flags", "mountpoint", "source", "options"});
    table.right({0, 1});
    Json list = Json::array();
    for (const images::Mount& mount : *view.mounts) {
        std::vector<std::string> flags = inspect::mount_flag_names(mount.flags);
        if (!context.json) {
            table.add({std::to_string(mount.id), std::to_string(mount.parent_id), escape(mount.filesystem),
                       base::join(flags, ","),
                       escape(mount.mountpoint) + (mount.root == "/" ? "" : " (" + escape(mount.root) + ")"),
                       escape(mount.source) + (mount.external ? " (external)" : ""), escape(mount.options)});
            continue;
        }
        Json item;
        item["id"] = mount.id;
        item["parent_id"] = mount.parent_id;
        item["mnt_ns"] = mount.namespace_id;
        put_bytes(item, "filesystem", mount.filesystem);
        put_bytes(item, "mountpoint", mount.mountpoint);
        put_bytes(item, "root", mount.root);
        put_bytes(item, "source", mount.source);
        put_bytes(item, "options", mount.options);
        item["flags"] = std::move(flags);
        item["external"] = mount.external;
        item["shared_id"] = mount.shared_id != 0 ? Json(mount.shared_id) : Json();
        item["master_id"] = mount.master_id != 0 ? Json(mount.master_id) : Json();
        list.push_back(std::move(item));
    }
    if (context.json) {
        document["mounts"] = std::move(list);
    } else if (!table.empty()) {
        context.output.table(table);
    }
}

void show_namespaces(Context& context, const ViewRequest& request, Json& document,
                     images::Findings& findings) {
    inspect::NamespaceView view = inspect::list_namespaces(request.subject.moment());
    append(findings, view.findings);
    Table table({"kind", "id", "processes", "details"});
    table.right({1});
    Json list = Json::array();
    for (const inspect::NamespaceRow& row : view.rows) {
        bool in = !request.pid;
        std::vector<std::string> pids;
        for (images::DumpPid pid : row.processes) {
            in = in || wanted(request, pid);
            pids.push_back(std::to_string(pid.value));
        }
        if (!in) continue;
        if (context.json) {
            list.push_back(namespace_json(row));
        } else {
            table.add({row.kind, std::to_string(row.id), some_of(pids, 10, " "),
                       row.details ? details_text(*row.details) : ""});
        }
    }
    if (context.json) {
        document["namespaces"] = std::move(list);
    } else {
        context.output.table(table);
    }
}

void show_cgroups(Context& context, const ViewRequest& request, Json& document, images::Findings& findings) {
    inspect::CgroupView view = inspect::list_cgroups(request.subject.moment());
    append(findings, view.findings);
    Table table({"pid", "command", "controllers", "path"});
    table.right({0});
    Json list = Json::array();
    for (const inspect::CgroupRow& row : view.rows) {
        if (!wanted(request, row.pid)) continue;
        Json groups = Json::array();
        for (const images::CgroupMember& member : row.groups) {
            table.add({std::to_string(row.tid.value), escape(row.comm),
                       member.controllers.empty() ? "(unified)" : escape(member.controllers),
                       escape(member.path)});
            Json group;
            put_bytes(group, "controllers", member.controllers);
            put_bytes(group, "path", member.path);
            groups.push_back(std::move(group));
        }
        Json item;
        item["pid"] = row.pid.value;
        item["tid"] = row.tid.value;
        put_bytes(item, "comm", row.comm);
        item["groups"] = std::move(groups);
        list.push_back(std::move(item));
    }
    Table settings({"controllers", "path", "setting", "value"});
    Json properties = Json::array();
    for (const images::CgroupProperty& property : view.properties) {
        settings.add({property.controllers.empty() ? "(unified)" : escape(property.controllers),
                      escape(property.path), escape(property.name), escape(property.value)});
        Json item;
        put_bytes(item, "controllers", property.controllers);
        put_bytes(item, "path", property.path);
        put_bytes(item, "name", property.name);
        put_bytes(item, "value", property.value);
        properties.push_back(std::move(item));
    }
    if (context.json) {
        document["cgroups"] = std::move(list);
        document["properties"] = std::move(properties);
        return;
    }
    if (!table.empty()) context.output.table(table);
    if (!settings.empty() && !request.pid) {
        context.output.line();
        context.output.table(settings);
    }
}

void show_ipc(Context& context, const ViewRequest& request, Json& document, images::Findings& findings) {
    inspect::IpcView view = inspect::list_ipc(request.subject.moment());
    append(findings, view.findings);
    if (context.json) {
        document["ipc"] = ipc_json(view.ipc);
    } else {
        print_ipc(context.output, view.ipc);
    }
}

void show_net(Context& context, const ViewRequest& request, Json& document, images::Findings& findings) {
    inspect::NetView view = inspect::list_net(request.subject.moment());
    append(findings, view.findings);
    if (context.json) {
        document["net"] = net_json(view);
    } else {
        print_net(context.output, view);
    }
}

void show_stats(Context& context, const ViewRequest& request, Json& document, images::Findings& findings) {
    inspect::StatsView view = inspect::list_stats(request.subject.moment());
    append(findings, view.findings);
    if (context.json) {
        const auto& restore = view.restore;
        document["stats"] = {{"dump", statistics_json(view.dump)},
                             {"restore", restore ? Json{{"forking_us", restore->forking_us},
                                                        {"restore_us", restore->restore_us},
                                                        {"pages_compared", restore->pages_compared},
                                                        {"pages_skipped_cow", restore->pages_skipped_cow},
                                                        {"pages_restored", restore->pages_restored}}
                                                 : Json()}};
        return;
    }
    auto line = [&](const char* label, uint64_t value, const char* unit) {
        context.output.line(fmt::format("  {:<24}{:>12} {}", label, value, unit));
    };
    if (view.dump) {
        context.output.line(context.output.paint(Colour::bold, "dump"));
        auto time = [&](const char* label, std::chrono::microseconds value) {
            line(label, static_cast<uint64_t>(value.count()), "µs");
        };
        time("freezing", view.dump->freezing);
        time("frozen", view.dump->frozen);
        time("reading memory", view.dump->memory_dump);
        time("writing memory", view.dump->memory_write);
        line("pages scanned", view.dump->pages_scanned, "");
        line("pages written", view.dump->pages_written, "");
        line("pages in the parent", view.dump->pages_skipped_parent, "");
        line("pages left for later", view.dump->pages_lazy, "");
        line("shared pages scanned", view.dump->shared_pages_scanned, "");
        line("shared pages written", view.dump->shared_pages_written, "");
    }
    if (view.restore) {
        context.output.line(context.output.paint(Colour::bold, "restore"));
        line("forking", view.restore->forking_us, "µs");
        line("restoring", view.restore->restore_us, "µs");
        line("pages compared", view.restore->pages_compared, "");
        line("pages shared again", view.restore->pages_skipped_cow, "");
        line("pages restored", view.restore->pages_restored, "");
    }
}

}  // namespace cprewind::cli

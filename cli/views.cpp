#include "cli/views.h"

#include <fmt/format.h>

#include "base/text.h"
#include "cli/json_text.h"
#include "cli/origin_view.h"
#include "cli/record_view.h"
#include "cli/view_tools.h"
#include "inspect/overview.h"

namespace cprewind::cli {
namespace {

using base::escape;

void print_overview(Output& output, const Subject& subject, const inspect::Overview& view) {
    auto row = [&](const char* label, const std::string& text) {
        output.line(fmt::format("  {}{}", output.paint(Colour::dim, fmt::format("{:<12}", label)), text));
    };
    output.line(output.paint(Colour::bold, subject.name));
    if (subject.record) {
        const store::SnapshotInfo& info = subject.record->info;
        row("container", fmt::format("{} ({}) of image {}", escape(info.container_name),
                                     info.container_id.substr(0, 12), escape(info.container_image)));
        row("taken", fmt::format("{}, with {}{}{}", base::local_time(info.taken_at), escape(info.engine),
                                 info.criu.empty() ? "" : " and CRIU ", escape(info.criu)));
        if (info.stall.count() > 0) row("stood still", base::human_duration(info.stall));
        if (!info.message.empty()) row("note", escape(info.message));
        row("stored", fmt::format("{} of {}", base::human_bytes(subject.record->stored_bytes),
                                  base::human_bytes(subject.record->raw_bytes)));
    }
    if (subject.origin && !subject.record) print_origin(output, *subject.origin);
    row("host name", view.hostname ? escape(*view.hostname) : "(not dumped)");
    row("processes", fmt::format("{}{}, {}, on {}", view.processes,
                                 view.zombies > 0 ? fmt::format(" ({} of them zombies)", view.zombies) : "",
                                 base::counted(view.threads, "thread"), view.architecture));
    row("memory", fmt::format("{} dumped of {} mapped", base::human_bytes(view.dumped_bytes),
                              base::human_bytes(view.mapped_bytes)));
    std::vector<std::string> kinds;
    for (const auto& [kind, count] : view.files_by_kind) kinds.push_back(fmt::format("{} {}", count, kind));
    row("open files",
        fmt::format("{}{}", view.open_files, kinds.empty() ? "" : ": " + base::join(kinds, ", ")));
    row("sockets",
        fmt::format("{} listening, {} established", view.listening_sockets, view.established_sockets));
    row("mounts", std::to_string(view.mounts));
    if (subject.layer) {
        uint64_t bytes = 0;
        for (const auto& entry : subject.layer->entries) bytes += entry.hard_link_to.empty() ? entry.size : 0;
        // The first entry is the layer's own root.
        uint64_t count = subject.layer->entries.empty() ? 0 : subject.layer->entries.size() - 1;
        row("files", fmt::format("{} in the writable layer, {}", count, base::human_bytes(bytes)));
    }
    if (view.statistics) {
        row("CRIU", fmt::format("froze in {}, held {}, wrote {} of {} pages",
                                base::human_duration(view.statistics->freezing),
                                base::human_duration(view.statistics->frozen), view.statistics->pages_written,
                                view.statistics->pages_scanned));
    }
}

}  // namespace

const std::vector<View>& views() {
    static const std::vector<View> k_views = {
        {"overview", "all of it on one screen (the default)", show_overview},
        {"ps", "processes: tree, state, user, memory, command line", show_ps},
        {"threads", "registers, scheduling, what each thread waits in", show_threads},
        {"fds", "open files of every process", show_fds},
        {"sockets", "who listened, who was connected, what waited in queues", show_sockets},
        {"mem", "mappings of every process, and how much of each is in the dump", show_mem},
        {"env", "environment variables", show_env},
        {"limits", "resource limits", show_limits},
        {"creds", "users, capabilities, seccomp filters, security labels", show_creds},
        {"signals", "handlers, masks, pending signals", show_signals},
        {"timers", "itimers, POSIX timers, timerfds", show_timers},
        {"mounts", "the mount table", show_mounts},
        {"namespaces", "who was in which namespace", show_namespaces},
        {"cgroups", "control groups and their settings", show_cgroups},
        {"locks", "file locks", show_locks},
        {"ipc", "System V shared memory, semaphores, message queues", show_ipc},
        {"net", "interfaces, addresses, routes, firewall", show_net},
        {"stats", "CRIU's own timings and counts", show_stats},
        {"files", "the writable layer", show_files},
    };
    return k_views;
}

void show_overview(Context& context, const ViewRequest& request, Json& document, images::Findings& findings) {
    const Subject& subject = request.subject;
    inspect::Overview view = inspect::make_overview(subject.moment());
    // The checkpoint's own are among them.
    findings = view.findings;
    if (!context.json) return print_overview(context.output, subject, view);
    document["snapshot"] = subject.record ? record_json(*subject.record) : Json();
    document["origin"] = subject.origin ? origin_json(*subject.origin) : Json();
    Json object;
    if (view.hostname) {
        put_bytes(object, "hostname", *view.hostname);
    } else {
        object["hostname"] = object["hostname_base64"] = nullptr;
    }
    object["architecture"] = view.architecture;
    object["image_version"] = view.image_version ? Json(*view.image_version) : Json();
    put_bytes(object, "root_command", view.root_command);
    object["processes"] = view.processes;
    object["zombies"] = view.zombies;
    object["threads"] = view.threads;
    object["mapped_bytes"] = view.mapped_bytes;
    object["dumped_bytes"] = view.dumped_bytes;
    object["image_bytes"] = view.image_bytes;
    object["open_files"] = view.open_files;
    object["files_by_kind"] = view.files_by_kind;
    object["listening_sockets"] = view.listening_sockets;
    object["established_sockets"] = view.established_sockets;
    object["mounts"] = view.mounts;
    object["layer_entries"] = subject.layer ? Json(subject.layer->entries.size()) : Json();
    object["criu_statistics"] = statistics_json(view.statistics);
    document["overview"] = std::move(object);
}

}  // namespace cprewind::cli

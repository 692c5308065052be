#include "cli/views.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>

#include "base/error.h"
#include "base/text.h"
#include "cli/json_text.h"
#include "cli/origin_view.h"
#include "cli/record_view.h"
#include "inspect/fds.h"
#include "inspect/mem.h"
#include "inspect/overview.h"
#include "inspect/ps.h"

namespace cprewind::cli {
namespace {

using base::escape;

// Arguments as a shell would need them to be told apart, escaped for the terminal.
std::string command_line(const inspect::PsRow& row) {
    if (row.arguments.empty()) return fmt::format("[{}]", escape(row.comm));
    std::vector<std::string> words;
    for (const std::string& argument : row.arguments) {
        std::string word = escape(argument);
        bool plain = !word.empty() && word.find_first_of(" '\"$;&|<>*?()`") == std::string::npos;
        words.push_back(plain ? word : fmt::format("'{}'", word));
    }
    return base::join(words, " ") + (row.arguments_complete ? "" : " …");
}

std::string state_text(images::ProcessState state, uint32_t exit_code) {
    if (state != images::ProcessState::zombie) return images::name_of(state);
    return (exit_code & 0x7f) != 0 ? fmt::format("zombie (signal {})", exit_code & 0x7f)
                                   : fmt::format("zombie (exit {})", exit_code >> 8 & 0xff);
}

bool wanted(const ViewRequest& request, images::DumpPid pid) {
    return !request.pid || *request.pid == pid.value;
}

Json statistics_json(const std::optional<images::DumpStatistics>& statistics) {
    if (!statistics) return {};
    Json object;
    object["freezing_us"] = statistics->freezing.count();
    object["frozen_us"] = statistics->frozen.count();
    object["memory_dump_us"] = statistics->memory_dump.count();
    object["memory_write_us"] = statistics->memory_write.count();
    object["pages_scanned"] = statistics->pages_scanned;
    object["pages_written"] = statistics->pages_written;
    return object;
}

void print_overview(Output& output, const Subject& subject, const inspect::Overview& view) {
    auto row = [&](const char* label, const std::string& text) {
        output.line(fmt::format("  {}{}", output.paint(Colour::dim, fmt::format("{:<12}", label)), text));
    };
    output.line(output.paint(Colour::bold, subject.name));
    if (subject.record) {
        const store::SnapshotInfo& info = subject.record->info;
        row("container", fmt::format("{} ({}) of image {}", escape(info.container_name),
                                     info.container_id.substr(0, 12), escape(info.container_image)));
        row("taken", fmt::format("{}, with {} and CRIU {}", base::local_time(info.taken_at),
                                 escape(info.engine), escape(info.criu)));
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
        {"fds", "open files of every process", show_fds},
        {"mem", "mappings of every process, and how much of each is in the dump", show_mem},
        {"files", "the writable layer", show_files},
    };
    return k_views;
}

void show_overview(Context& context, const ViewRequest& request, Json& document, images::Findings& findings) {
    const Subject& subject = request.subject;
    inspect::Overview view = inspect::make_overview(subject.moment());
    // make_overview repeats the checkpoint's own findings.
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

void show_ps(Context& context, const ViewRequest& request, Json& document, images::Findings& findings) {
    inspect::PsView view = inspect::list_processes(request.subject.moment());
    findings.insert(findings.end(), view.findings.begin(), view.findings.end());
    Table table({"pid", "ppid", "state", "uid", "threads", "memory", "command"});
    table.right({0, 1, 3, 4, 5});
    Json list = Json::array();
    for (const inspect::PsRow& row : view.rows) {
        if (!wanted(request, row.pid)) continue;
        if (!context.json) {
            table.add({std::to_string(row.pid.value), std::to_string(row.ppid.value),
                       state_text(row.state, row.exit_code), row.uid ? std::to_string(*row.uid) : "-",
                       std::to_string(row.threads), base::human_bytes(row.resident_bytes),
                       // A hostile tree can be deep; the screen is not.
                       std::string(2 * std::min<uint32_t>(row.depth, 40), ' ') + command_line(row)});
            continue;
        }
        Json item;
        item["pid"] = row.pid.value;
        item["ppid"] = row.ppid.value;
        item["depth"] = row.depth;
        item["state"] = images::name_of(row.state);
        item["exit_code"] = row.state == images::ProcessState::zombie ? Json(row.exit_code) : Json();
        item["uid"] = row.uid ? Json(*row.uid) : Json();
        item["threads"] = row.threads;
        put_bytes(item, "comm", row.comm);
        put_bytes(item, "arguments", row.arguments);
        item["arguments_complete"] = row.arguments_complete;
        put_bytes(item, "executable", row.executable);
        item["resident_bytes"] = row.resident_bytes;
        list.push_back(std::move(item));
    }
    if (context.json) {
        document["processes"] = std::move(list);
    } else {
        context.output.table(table);
    }
}

void show_fds(Context& context, const ViewRequest& request, Json& document, images::Findings&) {
    Table table({"pid", "command", "fd", "kind", "mode", "position", "target"});
    table.right({0, 2, 5});
    Json list = Json::array();
    for (const inspect::FdRow& row : inspect::list_fds(request.subject.checkpoint)) {
        if (!wanted(request, row.pid)) continue;
        if (!context.json) {
            table.add({std::to_string(row.pid.value), escape(row.comm), std::to_string(row.fd),
                       images::name_of(row.kind),
                       inspect::flag_names(row.flags) + (row.close_on_exec ? ",cloexec" : ""),
                       row.position ? std::to_string(*row.position) : "-",
                       escape(row.target) + (row.deleted ? " (deleted)" : "")});
            continue;
        }
        Json item;
        item["pid"] = row.pid.value;
        put_bytes(item, "comm", row.comm);
        item["fd"] = row.fd;
        item["kind"] = images::name_of(row.kind);
        put_bytes(item, "target", row.target);
        item["flags"] = row.flags;
        item["flag_names"] = inspect::flag_names(row.flags);
        item["close_on_exec"] = row.close_on_exec;
        item["position"] = row.position ? Json(*row.position) : Json();
        item["size"] = row.size ? Json(*row.size) : Json();
        item["deleted"] = row.deleted;
        item["file_id"] = row.file_id;
        list.push_back(std::move(item));
    }
    if (context.json) {
        document["fds"] = std::move(list);
    } else {
        context.output.table(table);
    }
}

namespace {

Json counts_json(const inspect::PageCounts& counts) {
    return {
        {"present", counts.present}, {"zero", counts.zero}, {"file", counts.file}, {"absent", counts.absent}};
}

void print_process_memory(Output& output, const inspect::ProcessMemory& process) {
    output.line(output.paint(
        Colour::bold,
        fmt::format("{} {}: {} mapped, {} in the dump", process.pid.value, escape(process.comm),
                    base::human_bytes(process.mapped_bytes), base::human_bytes(process.dumped_bytes))));
    Table table({"range", "prot", "kind", "size", "dumped", "zero", "in file", "absent", "path"});
    table.right({3, 4, 5, 6, 7});
    for (const inspect::MemRow& row : process.rows) {
        table.add({fmt::format("{:012x}-{:012x}", row.start, row.end), row.protection,
                   images::name_of(row.kind), base::human_bytes(row.end - row.start),
                   base::human_bytes(row.dumped_bytes), std::to_string(row.pages.zero),
                   std::to_string(row.pages.file), std::to_string(row.pages.absent), escape(row.path)});
    }
    output.table(table);
}

}  // namespace

void show_mem(Context& context, const ViewRequest& request, Json& document, images::Findings& findings) {
    inspect::MemView view = inspect::list_memory(request.subject.moment());
    findings.insert(findings.end(), view.findings.begin(), view.findings.end());
    Json list = Json::array();
    for (const inspect::ProcessMemory& process : view.processes) {
        if (!wanted(request, process.pid)) continue;
        if (!context.json) {
            print_process_memory(context.output, process);
            continue;
        }
        Json rows = Json::array();
        for (const inspect::MemRow& row : process.rows) {
            Json item;
            item["start"] = hex_number(row.start);
            item["end"] = hex_number(row.end);
            item["protection"] = row.protection;
            item["kind"] = images::name_of(row.kind);
            put_bytes(item, "path", row.path);
            item["offset"] = row.offset;
            item["pages"] = counts_json(row.pages);
            item["dumped_bytes"] = row.dumped_bytes;
            rows.push_back(std::move(item));
        }
        Json item;
        item["pid"] = process.pid.value;
        put_bytes(item, "comm", process.comm);
        item["page_size"] = process.page_size;
        item["mapped_bytes"] = process.mapped_bytes;
        item["dumped_bytes"] = process.dumped_bytes;
        item["pages"] = counts_json(process.pages);
        item["mappings"] = std::move(rows);
        list.push_back(std::move(item));
    }
    if (context.json) document["memory"] = std::move(list);
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
        context.output.line(context.output.paint(Colour::bold, escape(tree.name)));
        print_tree(context.output, tree.tree);
    }
}

}  // namespace cprewind::cli

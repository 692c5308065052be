// Views about what processes were allowed and what would happen to them: creds, signals, timers.
#include <fmt/format.h>

#include "base/text.h"
#include "cli/json_text.h"
#include "cli/view_tools.h"
#include "inspect/creds.h"
#include "inspect/names.h"
#include "inspect/timers.h"

namespace cprewind::cli {
namespace {

using base::escape;

Json creds_json(const inspect::CredsRow& row) {
    const images::Credentials& who = row.credentials;
    Json item;
    item["pid"] = row.pid.value;
    item["tid"] = row.tid.value;
    put_bytes(item, "comm", row.comm);
    item["uid"] = {
        {"real", who.uid}, {"effective", who.euid}, {"saved", who.suid}, {"filesystem", who.fsuid}};
    item["gid"] = {
        {"real", who.gid}, {"effective", who.egid}, {"saved", who.sgid}, {"filesystem", who.fsgid}};
    item["groups"] = who.groups;
    Json sets;
    sets["effective"] = inspect::capability_names(who.cap_effective);
    sets["permitted"] = inspect::capability_names(who.cap_permitted);
    sets["inheritable"] = inspect::capability_names(who.cap_inheritable);
    sets["bounding"] = inspect::capability_names(who.cap_bounding);
    sets["ambient"] = inspect::capability_names(who.cap_ambient);
    item["capabilities"] = std::move(sets);
    item["securebits"] = who.securebits;
    item["no_new_privs"] = who.no_new_privs;
    item["seccomp"] = row.seccomp_mode ? Json(inspect::seccomp_mode_name(*row.seccomp_mode)) : Json();
    item["seccomp_filters"] = row.seccomp_filters;
    put_bytes(item, "lsm_profile", who.lsm_profile);
    // (uid_t)-1: nobody logged in.
    item["login_uid"] = row.loginuid && *row.loginuid != UINT32_MAX ? Json(*row.loginuid) : Json();
    item["child_subreaper"] = or_null(row.child_subreaper);
    return item;
}

std::string set_text(uint64_t set) {
    if (set == inspect::k_docker_capabilities) return "Docker's default";
    if (set == 0) return "none";
    uint64_t extra = set & ~inspect::k_docker_capabilities;
    uint64_t lacking = inspect::k_docker_capabilities & ~set;
    std::string names = base::join(inspect::capability_names(set), " ");
    if (extra != 0 && lacking == 0)
        return "Docker's default and " + base::join(inspect::capability_names(extra), " ");
    return names;
}

void print_creds(Output& output, const inspect::CredsRow& row) {
    const images::Credentials& who = row.credentials;
    std::string thread = row.tid == row.pid ? "" : fmt::format(", thread {}", row.tid.value);
    output.line(output.paint(Colour::bold, fmt::format("{}{} {}", row.pid.value, thread, escape(row.comm))));
    auto line = [&](const char* label, const std::string& text) {
        output.line(fmt::format("  {}{}", output.paint(Colour::dim, fmt::format("{:<13}", label)), text));
    };
    line("user",
         fmt::format("{} (real {}, saved {}, file system {})", who.euid, who.uid, who.suid, who.fsuid));
    line("group",
         fmt::format("{} (real {}, saved {}, file system {})", who.egid, who.gid, who.sgid, who.fsgid));
    std::vector<std::string> groups;
    for (uint32_t group : who.groups) groups.push_back(std::to_string(group));
    if (!groups.empty()) line("groups", some_of(groups, 32, " "));
    line("effective", set_text(who.cap_effective));
    if (who.cap_permitted != who.cap_effective) line("permitted", set_text(who.cap_permitted));
    if (who.cap_inheritable != 0) line("inheritable", set_text(who.cap_inheritable));
    if (who.cap_ambient != 0) line("ambient", set_text(who.cap_ambient));
    line("bounding", set_text(who.cap_bounding));
    line("no new privs", who.no_new_privs ? "yes" : "no");
    std::vector<std::string> filters;
    for (uint32_t filter : row.seccomp_filters) filters.push_back(std::to_string(filter));
    line("seccomp", (row.seccomp_mode ? inspect::seccomp_mode_name(*row.seccomp_mode) : "none") +
                        (filters.empty() ? "" : " " + base::join(filters, ", then ")));
    if (!who.lsm_profile.empty()) line("security label", escape(who.lsm_profile));
    if (who.securebits != 0) line("securebits", hex_number(who.securebits));
}

Json signal_json(const images::PendingSignal& signal) {
    Json item;
    item["signal"] = inspect::signal_name(signal.signal);
    item["number"] = signal.signal;
    item["code"] = inspect::signal_code_name(signal.signal, signal.code);
    item["error"] = signal.error;
    item["pid"] = or_null(signal.pid);
    item["uid"] = or_null(signal.uid);
    item["value"] = signal.value ? Json(hex_number(*signal.value)) : Json();
    item["address"] = signal.address ? Json(hex_number(*signal.address)) : Json();
    item["siginfo_base64"] = base::to_base64(signal.raw);
    return item;
}

std::string signal_text(const images::PendingSignal& signal) {
    std::string text = fmt::format("{} ({}", inspect::signal_name(signal.signal),
                                   inspect::signal_code_name(signal.signal, signal.code));
    if (signal.pid) text += fmt::format(", from process {}, user {}", *signal.pid, signal.uid.value_or(0));
    if (signal.value) text += fmt::format(", value {}", *signal.value);
    if (signal.address) text += fmt::format(", address {:#x}", *signal.address);
    return text + ")";
}

template <typename Queue>
Json pending_json(const Queue& queue) {
    Json list = Json::array();
    for (const auto& signal : queue) list.push_back(signal_json(signal));
    return list;
}

std::string handler_text(const images::SignalAction& action) {
    return action.handler == 0 ? "default" : action.handler == 1 ? "ignored" : hex_number(action.handler);
}

Json action_json(const images::SignalAction& action) {
    Json item;
    item["signal"] = inspect::signal_name(action.signal);
    item["number"] = action.signal;
    item["handler"] = handler_text(action);
    item["flags"] = inspect::action_flag_names(action.flags);
    item["mask"] = inspect::signal_names(action.mask);
    item["restorer"] = hex_number(action.restorer);
    return item;
}

Json signals_json(const images::Process& process) {
    Json item;
    item["pid"] = process.pid.value;
    put_bytes(item, "comm", process.comm);
    Json actions = Json::array();
    for (const images::SignalAction& action : process.details.actions) actions.push_back(action_json(action));
    item["actions"] = std::move(actions);
    item["pending"] = pending_json(process.details.pending);
    item["stop_signal"] =
        process.details.stop_signal ? Json(inspect::signal_name(*process.details.stop_signal)) : Json();
    Json threads = Json::array();
    for (const images::Thread& thread : process.threads) {
        Json each;
        each["tid"] = thread.tid.value;
        each["blocked"] =
            thread.blocked_signals ? Json(inspect::signal_names(*thread.blocked_signals)) : Json();
        each["blocked_mask"] = thread.blocked_signals ? Json(hex_number(*thread.blocked_signals)) : Json();
        each["pending"] = pending_json(thread.details.pending);
        const auto& stack = thread.details.alternate_stack;
        each["alternate_stack"] = stack && stack->size > 0 ? Json{{"address", hex_number(stack->address)},
                                                                  {"size", stack->size},
                                                                  {"flags", stack->flags}}
                                                           : Json();
        each["parent_death_signal"] = thread.details.parent_death_signal
                                          ? Json(inspect::signal_name(*thread.details.parent_death_signal))
                                          : Json();
        threads.push_back(std::move(each));
    }
    item["threads"] = std::move(threads);
    return item;
}

void print_signals(Output& output, const images::Process& process) {
    output.line(output.paint(Colour::bold, fmt::format("{} {}", process.pid.value, escape(process.comm))));
    std::vector<std::string> ignored;
    for (const images::SignalAction& action : process.details.actions) {
        if (action.handler == 1) ignored.push_back(inspect::signal_name(action.signal));
        if (action.handler <= 1) continue;
        std::string mask =
            action.mask == 0 ? "" : ", blocks " + base::join(inspect::signal_names(action.mask), " ");
        output.line(fmt::format("  {:<12} handled at {} {}{}", inspect::signal_name(action.signal),
                                handler_text(action),
                                base::join(inspect::action_flag_names(action.flags), " "), mask));
    }
    if (!ignored.empty()) output.line("  ignored      " + base::join(ignored, " "));
    for (const auto& signal : process.details.pending) output.line("  pending      " + signal_text(signal));
    for (const images::Thread& thread : process.threads) {
        std::string who = thread.tid == process.pid ? "" : fmt::format(" (thread {})", thread.tid.value);
        if (thread.blocked_signals.value_or(0) != 0) {
            output.line(fmt::format("  blocked      {}{}",
                                    base::join(inspect::signal_names(*thread.blocked_signals), " "), who));
        }
        for (const auto& signal : thread.details.pending)
            output.line(fmt::format("  pending      {}{}", signal_text(signal), who));
        const auto& stack = thread.details.alternate_stack;
        if (stack && stack->size > 0) {
            output.line(fmt::format("  alternate stack at {:#x}, {}{}", stack->address,
                                    base::human_bytes(stack->size), who));
        }
    }
}

}  // namespace

void show_creds(Context& context, const ViewRequest& request, Json& document, images::Findings& findings) {
    inspect::CredsView view = inspect::list_creds(request.subject.moment());
    append(findings, view.findings);
    Json list = Json::array();
    for (const inspect::CredsRow& row : view.rows) {
        if (!wanted(request, row.pid)) continue;
        if (context.json) {
            list.push_back(creds_json(row));
        } else {
            print_creds(context.output, row);
        }
    }
    Json filters = Json::array();
    for (const inspect::SeccompProgram& filter : view.filters) {
        if (context.json) {
            filters.push_back(Json{{"index", filter.index},
                                   {"flags", filter.flags},
                                   {"instructions", filter.instructions},
                                   {"program", filter.lines}});
            continue;
        }
        // All of them only for one process: Docker's own has hundreds of lines, and all have it.
        constexpr size_t k_short = 16;
        context.output.line(context.output.paint(
            Colour::bold,
            fmt::format("seccomp filter {}: {} instructions", filter.index, filter.instructions)));
        bool whole = request.pid || filter.lines.size() <= k_short;
        for (size_t i = 0; i < filter.lines.size() && (whole || i < k_short); ++i)
            context.output.line("  " + filter.lines[i]);
        if (!whole) context.output.line("  … (--pid PID shows all)");
    }
    if (context.json) {
        document["credentials"] = std::move(list);
        document["seccomp_filters"] = std::move(filters);
    }
}

void show_signals(Context& context, const ViewRequest& request, Json& document, images::Findings&) {
    Json list = Json::array();
    for (const images::Process& process : request.subject.checkpoint.processes) {
        if (!wanted(request, process.pid)) continue;
        if (context.json) {
            list.push_back(signals_json(process));
        } else {
            print_signals(context.output, process);
        }
    }
    if (context.json) document["signals"] = std::move(list);
}

void show_timers(Context& context, const ViewRequest& request, Json& document, images::Findings&) {
    Table table({"pid", "command", "kind", "id", "clock", "left", "every", "signal", "held by"});
    table.right({0, 3});
    Json list = Json::array();
    for (const inspect::TimerRow& row : inspect::list_timers(request.subject.checkpoint)) {
        bool held = row.pid && wanted(request, *row.pid);
        for (const inspect::Holder& holder : row.holders) held = held || wanted(request, holder.pid);
        if (!held && request.pid) continue;
        if (!context.json) {
            table.add({row.pid ? std::to_string(row.pid->value) : "-", escape(row.comm), row.kind,
                       or_dash(row.id), row.clock,
                       row.left_ns == 0 ? "not armed" : duration_text(row.left_ns),
                       row.interval_ns == 0 ? "once" : duration_text(row.interval_ns), row.signal,
                       row.pid ? "" : holders_text(row.holders)});
            continue;
        }
        Json item;
        item["kind"] = row.kind;
        item["pid"] = row.pid ? Json(row.pid->value) : Json();
        put_bytes(item, "comm", row.comm);
        item["id"] = or_null(row.id);
        item["clock"] = row.clock;
        item["left_ns"] = row.left_ns;
        item["interval_ns"] = row.interval_ns;
        item["signal"] = row.signal.empty() ? Json() : Json(row.signal);
        item["notify"] = row.notify.empty() ? Json() : Json(row.notify);
        item["thread"] = or_null(row.thread);
        item["value"] = row.value ? Json(hex_number(*row.value)) : Json();
        item["expired"] = or_null(row.expired);
        item["holders"] = holders_json(row.holders);
        list.push_back(std::move(item));
    }
    if (context.json) {
        document["timers"] = std::move(list);
    } else if (table.empty()) {
        context.output.line("no timers");
    } else {
        context.output.table(table);
    }
}

}  // namespace cprewind::cli

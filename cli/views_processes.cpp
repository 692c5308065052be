// Views about processes and threads: ps, threads, env, limits.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "cli/json_text.h"
#include "cli/view_tools.h"
#include "images/image_source.h"
#include "images/json_document.h"
#include "inspect/names.h"
#include "inspect/ps.h"
#include "inspect/threads.h"

namespace cprewind::cli {
namespace {

using base::escape;

std::string command_line(const inspect::PsRow& row) {
    if (row.arguments.empty()) return fmt::format("[{}]", escape(row.comm));
    return shell_words(row.arguments) + (row.arguments_complete ? "" : " …");
}

std::string state_text(images::ProcessState state, uint32_t exit_code) {
    if (state != images::ProcessState::zombie) return images::name_of(state);
    return (exit_code & 0x7f) != 0 ? fmt::format("zombie (signal {})", exit_code & 0x7f)
                                   : fmt::format("zombie (exit {})", exit_code >> 8 & 0xff);
}

// Docker's word for when the first process began. The images do not say when a process was started.
std::optional<std::string> container_start(const Subject& subject) {
    if (!subject.record) return std::nullopt;
    images::Findings findings;  // of a file that says nothing else here
    images::JsonDocument document(*subject.files, "container.json", findings);
    const nlohmann::json& all = document.at();
    const nlohmann::json& container = all.is_array() && !all.empty() ? all[0] : all;
    std::string started =
        images::JsonDocument::text_of(*images::JsonDocument::step(container, "State"), "StartedAt");
    return started.empty() ? std::nullopt : std::optional(started);
}

Json ps_json(const inspect::PsRow& row, const std::optional<std::string>& started) {
    Json item;
    item["pid"] = row.pid.value;
    item["ppid"] = row.ppid.value;
    item["depth"] = row.depth;
    item["state"] = images::name_of(row.state);
    item["exit_code"] = row.state == images::ProcessState::zombie ? Json(row.exit_code) : Json();
    item["uid"] = or_null(row.uid);
    item["threads"] = row.threads;
    put_bytes(item, "comm", row.comm);
    put_bytes(item, "arguments", row.arguments);
    item["arguments_complete"] = row.arguments_complete;
    put_bytes(item, "executable", row.executable);
    item["resident_bytes"] = row.resident_bytes;
    item["pgid"] = row.pgid.value;
    item["sid"] = row.sid.value;
    item["gid"] = row.credentials ? Json(row.credentials->egid) : Json();
    item["real_uid"] = row.credentials ? Json(row.credentials->uid) : Json();
    item["real_gid"] = row.credentials ? Json(row.credentials->gid) : Json();
    item["groups"] = row.credentials ? Json(row.credentials->groups) : Json();
    put_bytes(item, "cwd", row.cwd);
    put_bytes(item, "root", row.root);
    item["umask"] = row.umask ? Json(fmt::format("{:04o}", *row.umask)) : Json();
    item["oom_score_adj"] = or_null(row.oom_score_adj);
    item["started_at"] = row.depth == 0 && row.ppid.value == 0 ? or_null(started) : Json();
    return item;
}

std::string call_text(const inspect::SystemCall& call) {
    std::vector<std::string> arguments;
    for (uint64_t argument : call.arguments) arguments.push_back(fmt::format("{:#x}", argument));
    std::string name = call.name.empty() ? fmt::format("syscall {}", call.number) : call.name;
    std::string target = call.target.empty() ? "" : " on " + escape(call.target);
    return fmt::format("{}({}){}", name, base::join(arguments, ", "), target);
}

Json registers_json(const std::vector<images::Register>& registers) {
    Json object = Json::object();
    for (const images::Register& each : registers) object[each.name] = hex_number(each.value);
    return object;
}

Json call_json(const std::optional<inspect::SystemCall>& call) {
    if (!call) return {};
    Json object;
    object["number"] = call->number;
    object["name"] = call->name.empty() ? Json() : Json(call->name);
    Json arguments = Json::array();
    for (uint64_t argument : call->arguments) arguments.push_back(hex_number(argument));
    object["arguments"] = std::move(arguments);
    put_bytes(object, "target", call->target);
    return object;
}

Json thread_json(const inspect::ThreadRow& row) {
    Json item;
    item["pid"] = row.pid.value;
    item["tid"] = row.tid.value;
    put_bytes(item, "comm", row.comm);
    item["state"] = images::name_of(row.state);
    item["program_counter"] = row.program_counter ? Json(hex_number(*row.program_counter)) : Json();
    item["stack_pointer"] = row.stack_pointer ? Json(hex_number(*row.stack_pointer)) : Json();
    put_bytes(item, "code", row.code);
    item["system_call"] = call_json(row.system_call);
    item["blocked_signals"] =
        row.blocked_signals ? Json(inspect::signal_names(*row.blocked_signals)) : Json();
    item["blocked_mask"] = row.blocked_signals ? Json(hex_number(*row.blocked_signals)) : Json();
    Json pending = Json::array();
    for (const auto& signal : row.pending) pending.push_back(inspect::signal_name(signal.signal));
    item["pending_signals"] = std::move(pending);
    item["policy"] = row.sched_policy ? Json(inspect::policy_name(*row.sched_policy)) : Json();
    item["priority"] = or_null(row.sched_priority);
    item["nice"] = or_null(row.nice);
    item["seccomp"] = row.seccomp_mode ? Json(inspect::seccomp_mode_name(*row.seccomp_mode)) : Json();
    item["registers"] = registers_json(row.registers);
    return item;
}

void print_registers(Output& output, const inspect::ThreadRow& row) {
    constexpr size_t k_in_a_line = 4;
    output.line(
        output.paint(Colour::bold, fmt::format("{}/{} {}", row.pid.value, row.tid.value, escape(row.comm))));
    std::string line;
    for (size_t i = 0; i < row.registers.size(); ++i) {
        line += fmt::format("  {:>8} {:<18}", row.registers[i].name, hex_number(row.registers[i].value));
        if (i % k_in_a_line == k_in_a_line - 1 || i + 1 == row.registers.size()) {
            output.line(base::trim(line).empty() ? "" : line);
            line.clear();
        }
    }
}

std::string limit_text(uint64_t value) {
    return value == UINT64_MAX ? "unlimited" : std::to_string(value);
}

}  // namespace

void show_ps(Context& context, const ViewRequest& request, Json& document, images::Findings& findings) {
    inspect::PsView view = inspect::list_processes(request.subject.moment());
    append(findings, view.findings);
    Table table({"pid", "ppid", "state", "uid", "threads", "memory", "command"});
    table.right({0, 1, 3, 4, 5});
    Json list = Json::array();
    std::optional<std::string> started = context.json ? container_start(request.subject) : std::nullopt;
    for (const inspect::PsRow& row : view.rows) {
        if (!wanted(request, row.pid)) continue;
        if (context.json) {
            list.push_back(ps_json(row, started));
            continue;
        }
        table.add({std::to_string(row.pid.value), std::to_string(row.ppid.value),
                   state_text(row.state, row.exit_code), or_dash(row.uid), std::to_string(row.threads),
                   base::human_bytes(row.resident_bytes),
                   // A hostile tree can be deep; the screen is not.
                   std::string(2 * std::min<uint32_t>(row.depth, 40), ' ') + command_line(row)});
    }
    if (context.json) {
        document["processes"] = std::move(list);
        return;
    }
    context.output.table(table);
    if (!request.pid) return;
    for (const inspect::PsRow& row : view.rows) {
        if (!wanted(request, row.pid)) continue;
        context.output.line();
        context.output.line(fmt::format("executable {}", escape(row.executable)));
        context.output.line(fmt::format("directory  {}, root {}", escape(row.cwd), escape(row.root)));
        if (!row.credentials) continue;
        const images::Credentials& who = *row.credentials;
        context.output.line(
            fmt::format("user       {} (real {}), group {} (real {})", who.euid, who.uid, who.egid, who.gid));
    }
}

void show_threads(Context& context, const ViewRequest& request, Json& document, images::Findings&) {
    Table table({"pid", "tid", "name", "policy", "nice", "stands at", "waits in"});
    table.right({0, 1, 4});
    Json list = Json::array();
    std::vector<inspect::ThreadRow> rows = inspect::list_threads(request.subject.checkpoint);
    for (const inspect::ThreadRow& row : rows) {
        if (!wanted(request, row.pid)) continue;
        if (context.json) {
            list.push_back(thread_json(row));
            continue;
        }
        table.add({std::to_string(row.pid.value), std::to_string(row.tid.value), escape(row.comm),
                   row.sched_policy ? inspect::policy_name(*row.sched_policy) : "-", or_dash(row.nice),
                   escape(row.code), row.system_call ? call_text(*row.system_call) : ""});
    }
    if (context.json) {
        document["threads"] = std::move(list);
        return;
    }
    context.output.table(table);
    if (!request.pid) return;
    for (const inspect::ThreadRow& row : rows) {
        if (wanted(request, row.pid)) print_registers(context.output, row);
    }
}

void show_env(Context& context, const ViewRequest& request, Json& document, images::Findings& findings) {
    Json list = Json::array();
    images::MemoryWindow memories(request.subject.checkpoint, *request.subject.images,
                                  images::ExpectedStrings::environment, findings);
    for (const images::Process& process : request.subject.checkpoint.processes) {
        if (!wanted(request, process.pid) || process.state == images::ProcessState::zombie) continue;
        bool complete = false;
        auto variables = inspect::read_environment(memories, process, complete);
        if (context.json) {
            Json item;
            item["pid"] = process.pid.value;
            put_bytes(item, "comm", process.comm);
            put_bytes(item, "variables", variables);
            item["complete"] = complete;
            list.push_back(std::move(item));
            continue;
        }
        context.output.line(context.output.paint(
            Colour::bold, fmt::format("{} {}{}", process.pid.value, escape(process.comm),
                                      complete ? "" : " (not all of it is in the dump)")));
        for (const std::string& variable : variables) context.output.line("  " + escape(variable));
    }
    if (context.json) document["environments"] = std::move(list);
}

void show_limits(Context& context, const ViewRequest& request, Json& document, images::Findings&) {
    Table table({"pid", "command", "limit", "soft", "hard"});
    table.right({0, 3, 4});
    Json list = Json::array();
    auto number = [](uint64_t value) { return value == UINT64_MAX ? Json() : Json(value); };
    for (const images::Process& process : request.subject.checkpoint.processes) {
        if (!wanted(request, process.pid)) continue;
        for (size_t i = 0; i < process.limits.size(); ++i) {
            const images::Limit& limit = process.limits[i];
            if (!context.json) {
                table.add({std::to_string(process.pid.value), escape(process.comm), inspect::limit_name(i),
                           limit_text(limit.soft), limit_text(limit.hard)});
                continue;
            }
            Json item;
            item["pid"] = process.pid.value;
            put_bytes(item, "comm", process.comm);
            item["limit"] = inspect::limit_name(i);
            item["soft"] = number(limit.soft);
            item["hard"] = number(limit.hard);
            list.push_back(std::move(item));
        }
    }
    if (context.json) {
        document["limits"] = std::move(list);
    } else {
        context.output.table(table);
    }
}

}  // namespace cprewind::cli

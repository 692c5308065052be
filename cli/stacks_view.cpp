#include "cli/stacks_view.h"

#include <fmt/format.h>

#include "base/text.h"
#include "cli/container_sources.h"
#include "cli/isolated.h"
#include "cli/json_text.h"
#include "cli/view_tools.h"
#include "inspect/stacks.h"

namespace cprewind::cli {
namespace {

using base::escape;
using inspect::StackFrame;
using inspect::StackGroup;
using inspect::ThreadStack;

// A process is unwound in a second or two; its binaries are mapped, and debug information takes some times its size.
constexpr unsigned k_seconds = 120;
constexpr uint64_t k_memory = uint64_t{8} << 30;

// --- from the child to us ---

Json pack_frame(const StackFrame& frame) {
    return Json::array({frame.address, static_cast<int>(frame.found_by), frame.is_inlined,
                        frame.is_signal_handler, frame.function, frame.offset, frame.object,
                        frame.object_address, frame.source, frame.line});
}

StackFrame unpack_frame(const Json& from) {
    StackFrame frame;
    frame.address = from.at(0);
    frame.found_by = static_cast<inspect::FoundBy>(from.at(1).get<int>());
    frame.is_inlined = from.at(2);
    frame.is_signal_handler = from.at(3);
    frame.function = from.at(4);
    frame.offset = from.at(5);
    frame.object = from.at(6);
    frame.object_address = from.at(7);
    frame.source = from.at(8);
    frame.line = from.at(9);
    return frame;
}

std::string pack(const std::vector<ThreadStack>& stacks) {
    Json list = Json::array();
    for (const ThreadStack& stack : stacks) {
        Json frames = Json::array();
        for (const StackFrame& frame : stack.frames) frames.push_back(pack_frame(frame));
        list.push_back(
            Json::array({stack.pid.value, stack.tid.value, stack.comm, std::move(frames), stack.end}));
    }
    std::string out;
    Json::to_cbor(list, out);
    return out;
}

// The child was ours, but what it had read was not: anything but the expected is no answer.
bool unpack(const std::string& bytes, std::vector<ThreadStack>& out) {
    try {
        for (const Json& from : Json::from_cbor(bytes)) {
            ThreadStack stack;
            stack.pid = {from.at(0).get<uint32_t>()};
            stack.tid = {from.at(1).get<uint32_t>()};
            stack.comm = from.at(2);
            for (const Json& frame : from.at(3)) stack.frames.push_back(unpack_frame(frame));
            stack.end = from.at(4);
            out.push_back(std::move(stack));
        }
        return true;
    } catch (const Json::exception&) {
        return false;
    }
}

// --- what is shown ---

std::vector<ThreadStack> unwind(const Subject& subject, const images::Process& process,
                                const inspect::ContainerFiles& files, images::Findings& findings) {
    IsolatedResult result = run_isolated(
        [&] {
            images::Findings ignored;
            return pack(inspect::unwind_process(subject.moment(), process, files, ignored));
        },
        k_seconds, k_memory);
    std::vector<ThreadStack> stacks;
    if (result.status.success() && unpack(result.answer, stacks)) return stacks;
    images::add_finding(
        findings,
        {images::FindingKind::unverified,
         "",
         {},
         fmt::format("unwinding process {} ended with {}; its binaries may be damaged, or made to do that",
                     process.pid.value, result.status.describe())});
    for (const images::Thread& thread : process.threads)
        stacks.push_back({process.pid,
                          thread.tid,
                          thread.comm.empty() ? process.comm : thread.comm,
                          {},
                          "unwinding failed (see the findings)"});
    return stacks;
}

Json frame_json(const StackFrame& frame) {
    Json item;
    item["address"] = hex_number(frame.address);
    put_bytes(item, "function", frame.function);
    if (frame.function.empty()) item["function"] = nullptr;
    item["offset"] = frame.function.empty() || frame.is_inlined ? Json() : Json(frame.offset);
    put_bytes(item, "object", frame.object);
    item["object_address"] = hex_number(frame.object_address);
    put_bytes(item, "source", frame.source);
    if (frame.source.empty()) item["source"] = nullptr;
    item["line"] = frame.line == 0 ? Json() : Json(frame.line);
    item["inlined"] = frame.is_inlined;
    item["signal_handler"] = frame.is_signal_handler;
    item["found_by"] = inspect::name_of(frame.found_by);
    return item;
}

Json group_json(const StackGroup& group) {
    Json threads = Json::array();
    for (const ThreadStack* stack : group.threads) {
        Json thread;
        thread["pid"] = stack->pid.value;
        thread["tid"] = stack->tid.value;
        put_bytes(thread, "comm", stack->comm);
        threads.push_back(std::move(thread));
    }
    Json frames = Json::array();
    for (const StackFrame& frame : group.threads.front()->frames) frames.push_back(frame_json(frame));
    Json item;
    item["threads"] = std::move(threads);
    item["frames"] = std::move(frames);
    put_bytes(item, "end", group.threads.front()->end);
    if (group.threads.front()->end.empty()) item["end"] = nullptr;
    return item;
}

std::string frame_text(size_t number, const StackFrame& frame) {
    std::string what = frame.function.empty() ? "??" : escape(frame.function);
    if (frame.is_signal_handler) what = "<signal handler called>";
    if (!frame.function.empty() && !frame.is_inlined && !frame.is_signal_handler)
        what += fmt::format("+{:#x}", frame.offset);
    std::string where =
        frame.source.empty() ? "" : fmt::format(" at {}:{}", escape(frame.source), frame.line);
    std::string object = frame.object.empty() ? "not mapped" : escape(frame.object);
    if (frame.is_inlined)
        return fmt::format("  #{:<3} {:18} {} (inlined){}  {}", number, "", what, where, object);
    const char* guess =
        frame.found_by == inspect::FoundBy::frame_pointer ? "  (guessed by frame pointer)" : "";
    return fmt::format("  #{:<3} {:#018x} {}{}  {}{}", number, frame.address, what, where, object, guess);
}

void add_group(const Output& output, const StackGroup& group, std::vector<std::string>& lines) {
    constexpr size_t k_threads_shown = 12;
    std::vector<std::string> threads;
    for (const ThreadStack* stack : group.threads)
        threads.push_back(fmt::format("{}/{} {}", stack->pid.value, stack->tid.value, escape(stack->comm)));
    std::string count =
        group.threads.size() > 1 ? fmt::format("{} threads: ", group.threads.size()) : std::string();
    lines.push_back(output.paint(Colour::bold, count + some_of(threads, k_threads_shown, ", ")));
    const ThreadStack& stack = *group.threads.front();
    for (size_t i = 0; i < stack.frames.size(); ++i) lines.push_back(frame_text(i, stack.frames[i]));
    if (!stack.end.empty()) lines.push_back(output.paint(Colour::dim, "  (" + escape(stack.end) + ")"));
}

StacksShown describe(const Output& output, const std::vector<ThreadStack>& stacks) {
    StacksShown shown{{}, Json::array()};
    for (const StackGroup& group : inspect::group_stacks(stacks)) {
        if (!shown.lines.empty()) shown.lines.emplace_back();
        add_group(output, group, shown.lines);
        shown.json.push_back(group_json(group));
    }
    return shown;
}

}  // namespace

StacksShown stacks_of(Context& context, const Subject& subject, const ThreadIds& threads,
                      const std::string& sysroot, images::Findings& findings) {
    ContainerSources sources(subject, sysroot, findings);
    std::vector<ThreadStack> stacks;
    for (const images::Process& process : subject.checkpoint.processes) {
        auto first = threads.lower_bound({process.pid, images::DumpPid{0}});
        if (first == threads.end() || first->first != process.pid) continue;
        for (ThreadStack& stack : unwind(subject, process, sources.files(), findings)) {
            if (threads.contains({stack.pid, stack.tid})) stacks.push_back(std::move(stack));
        }
    }
    return describe(context.output, stacks);
}

void show_stacks(Context& context, const ViewRequest& request, const std::string& sysroot, Json& document,
                 images::Findings& findings) {
    ThreadIds threads;
    for (const images::Process& process : request.subject.checkpoint.processes) {
        if (!wanted(request, process.pid) || process.state == images::ProcessState::zombie) continue;
        for (const images::Thread& thread : process.threads) threads.emplace(process.pid, thread.tid);
    }
    StacksShown shown = stacks_of(context, request.subject, threads, sysroot, findings);
    if (context.json) {
        document["stacks"] = std::move(shown.json);
        return;
    }
    for (const std::string& line : shown.lines) context.output.line(line);
}

}  // namespace cprewind::cli

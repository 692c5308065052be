#include "inspect/ps.h"

#include <algorithm>

#include "images/pages.h"

namespace cprewind::inspect {

namespace {

// Linux lets arguments and environment together have a quarter of the stack limit, 6 MiB at most by default.
constexpr uint64_t k_strings_limit = 16u << 20;

std::vector<std::string> split_strings(const std::string& raw) {
    std::vector<std::string> strings;
    size_t begin = 0;
    while (begin < raw.size()) {
        size_t end = std::min(raw.find('\0', begin), raw.size());
        strings.push_back(raw.substr(begin, end - begin));
        begin = end + 1;
    }
    return strings;
}

std::vector<std::string> read_strings(const images::AddressSpace& memory, images::AddressRange range,
                                      bool& complete) {
    return split_strings(images::read_range(memory, range, k_strings_limit, complete));
}

// Zombies have no memory; a process of which mm is lost has none that could be found.
bool has_memory(const images::Process& process) {
    return process.state != images::ProcessState::zombie && !process.mappings.empty();
}

}  // namespace

std::vector<std::string> read_arguments(Moment moment, const images::Process& process, bool& complete,
                                        images::Findings& findings) {
    complete = false;
    if (!has_memory(process)) return {};
    images::AddressSpace memory(moment.source, process, findings);
    return read_strings(memory, process.arguments, complete);
}

std::vector<std::string> read_environment(Moment moment, const images::Process& process, bool& complete,
                                          images::Findings& findings) {
    complete = false;
    if (!has_memory(process)) return {};
    images::AddressSpace memory(moment.source, process, findings);
    return read_strings(memory, process.environment, complete);
}

PsView list_processes(Moment moment) {
    PsView view;
    for (const images::Process& process : moment.checkpoint.processes) {
        PsRow row;
        row.depth = process.depth;
        row.pid = process.pid;
        row.ppid = process.ppid;
        row.state = process.state;
        row.exit_code = process.exit_code;
        row.threads = process.threads.size();
        if (process.credentials) row.uid = process.credentials->euid;
        row.credentials = process.credentials;
        row.pgid = process.pgid;
        row.sid = process.sid;
        row.cwd = process.cwd;
        row.root = process.root;
        row.umask = process.umask;
        row.oom_score_adj = process.oom_score_adj;
        row.comm = process.comm;
        row.executable = process.executable;
        if (has_memory(process)) {
            images::AddressSpace memory(moment.source, process, view.findings);
            row.arguments = read_strings(memory, process.arguments, row.arguments_complete);
            row.resident_bytes = memory.own_pages().present_bytes();
        }
        view.rows.push_back(std::move(row));
    }
    return view;
}

}  // namespace cprewind::inspect

#include "inspect/ps.h"

#include <algorithm>

namespace cprewind::inspect {

namespace {

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

}  // namespace

std::vector<std::string> read_arguments(images::MemoryWindow& memories, const images::Process& process,
                                        bool& complete) {
    return split_strings(memories.arguments_of(process, complete));
}

std::vector<std::string> read_environment(images::MemoryWindow& memories, const images::Process& process,
                                          bool& complete) {
    return split_strings(memories.environment_of(process, complete));
}

PsView list_processes(Moment moment) {
    PsView view;
    images::MemoryWindow memories(moment.checkpoint, moment.source, images::ExpectedStrings::arguments,
                                  view.findings);
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
        row.arguments = read_arguments(memories, process, row.arguments_complete);
        if (const images::AddressSpace* memory = memories.of(process))
            row.resident_bytes = memory->own_pages().present_bytes();
        view.rows.push_back(std::move(row));
    }
    return view;
}

}  // namespace cprewind::inspect

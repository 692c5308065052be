// The processes of a checkpoint as `ps` would show them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "images/memory_window.h"
#include "inspect/moment.h"

namespace cprewind::inspect {

struct PsRow {
    uint32_t depth = 0;
    images::DumpPid pid;
    images::DumpPid ppid;
    images::ProcessState state = images::ProcessState::unknown;
    uint32_t exit_code = 0;  // zombies: as wait(2) reports it
    uint64_t threads = 0;
    std::optional<uint32_t> uid;  // effective
    std::optional<images::Credentials> credentials;
    images::DumpPid pgid, sid;
    std::string cwd;
    std::string root;
    std::optional<uint32_t> umask;
    std::optional<int32_t> oom_score_adj;
    std::string comm;
    std::vector<std::string> arguments;  // from dumped memory; empty when it has none (zombies, kernel-made)
    bool arguments_complete = false;     // all of it could be read
    std::string executable;
    uint64_t resident_bytes =
        0;  // memory of its own that the dump holds, parents included; shared memory is not in it
};

struct PsView {
    std::vector<PsRow> rows;  // depth first
    images::Findings findings;
};

PsView list_processes(Moment moment);

// The NUL-separated strings of one process, as the program left them: `complete` is false when part was not
// dumped.
std::vector<std::string> read_arguments(images::MemoryWindow& memories, const images::Process& process,
                                        bool& complete);
std::vector<std::string> read_environment(images::MemoryWindow& memories, const images::Process& process,
                                          bool& complete);

}  // namespace cprewind::inspect

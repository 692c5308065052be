// Who each process was, what it was allowed, and the seccomp filters that it was under.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "inspect/moment.h"

namespace cprewind::inspect {

struct CredsRow {
    images::DumpPid pid;
    images::DumpPid tid;  // that of the leader, or of a thread that differs from it
    std::string comm;
    images::Credentials credentials;
    std::optional<uint32_t> seccomp_mode;
    std::vector<uint32_t> seccomp_filters;  // indexes of SeccompProgram, the last put on first
    std::optional<uint32_t> loginuid;
    std::optional<bool> child_subreaper;
};

struct SeccompProgram {
    uint32_t index = 0;
    uint32_t flags = 0;
    uint64_t instructions = 0;
    std::vector<std::string> lines;
};

struct CredsView {
    std::vector<CredsRow> rows;
    std::vector<SeccompProgram> filters;  // each once, those that a process has
    images::Findings findings;
};

CredsView list_creds(Moment moment);

// What Docker grants when nothing is asked for (moby's oci/caps/defaults.go): a bit for each.
extern const uint64_t k_docker_capabilities;

}  // namespace cprewind::inspect

// What looks odd in a checkpoint, each with its evidence. Odd is not wrong: a JIT compiler has writable code, too. So
// each says what was seen, not what to think of it.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "images/layer.h"
#include "inspect/moment.h"

namespace cprewind::inspect {

// The names in --json; only added to.
enum class OddityKind {
    writable_code,        // anonymous memory that is writable and executable
    changed_code,         // pages of an executable mapping that are not the file's
    unusual_execution,    // code from a deleted file, a memfd or a tmpfs
    preload,              // LD_PRELOAD, LD_AUDIT, /etc/ld.so.preload
    unexpected_listener,  // not in the container image's EXPOSE
    capabilities,         // beyond Docker's default
    foreign_executable,   // a program that is not in the container image
    set_id,   // set-uid or set-gid files in the writable layer; a process under another user than its own
    sniffer,  // packet and raw sockets
};
const char* name_of(OddityKind kind);

struct Oddity {
    OddityKind kind = OddityKind::writable_code;
    std::optional<images::DumpPid> pid;
    std::string what;      // one sentence
    std::string evidence;  // where to look: an address range, a descriptor, a path
};

// What else is known of the container. All may be absent; then some things are not checked, and the report says so.
struct ReportInput {
    const images::LayerTree* layer = nullptr;
    const images::ImageFile* layer_data = nullptr;
    // Ports of the container image's configuration, "6379/tcp".
    std::optional<std::set<std::string>> exposed;
    // Content of a file of the container from somewhere else (--sysroot), or nothing.
    std::function<std::optional<std::string>(const std::string& path, uint64_t offset, uint64_t size)>
        read_file;
};

struct Report {
    std::vector<Oddity> oddities;        // by kind, then process
    std::vector<std::string> unchecked;  // sentences: what could not be looked at, and why
    images::Findings findings;
};

Report make_report(Moment moment, const ReportInput& input);

}  // namespace cprewind::inspect

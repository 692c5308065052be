// The parts of `diff`, each one subject of the comparison: what it found as text and as JSON, from the same structs.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/command.h"
#include "cli/subject.h"
#include "inspect/diff.h"

namespace cprewind::cli {

struct DiffRequest {
    const Subject& a;
    const Subject& b;
    std::optional<uint32_t> pid;  // only this process, where a subject is about processes
    bool whole = false;           // in full: all lines, and the content of files
    bool pages = false;           // memory: each range of pages that differs
    bool bytes = false;           // memory: each byte that differs, before and after
    size_t strings = 0;           // memory: strings of at least so many characters that came or went; 0: none
    bool renumbered = false;      // a restore lies between the two
    bool unchanged = false;       // processes and fds: also what is the same
    bool stacks = false;          // threads: of those that stand still, function by function
    std::string sysroot = {};     // for stacks: where else binaries may be
    inspect::PidSet reused = {};  // pids that are other processes on the later side
};

struct Section {
    bool same = true;
    std::string headline;
    std::vector<std::string> lines;
    std::vector<std::string> details;  // shown instead of `lines` when in full, if there are any
    Json json;
};

// Findings of the comparison itself are appended to `findings`.
Section section_ps(Context&, const DiffRequest&, images::Findings& findings);
Section section_fds(Context&, const DiffRequest&, images::Findings& findings);
Section section_threads(Context&, const DiffRequest&, images::Findings& findings);
Section section_system(Context&, const DiffRequest&, images::Findings& findings);
Section section_files(Context&, const DiffRequest&, images::Findings& findings);
// With pages, bytes or strings it prints these at once: they may be more than memory holds.
Section section_memory(Context&, const DiffRequest&, images::Findings& findings);

std::string range_text(images::AddressRange range);

}  // namespace cprewind::cli

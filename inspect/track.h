// One thing at one moment, in a form that two moments can be compared by: what `track` follows through a timeline.
#pragma once

#include <optional>
#include <string>

#include "images/layer.h"
#include "inspect/moment.h"

namespace cprewind::inspect {

struct Trace {
    bool there = false;
    std::string state;    // equal when nothing changed; bytes, not for people
    std::string summary;  // for people; may hold any bytes
};

// Bytes [start, end) of a process's memory: their SHA-256, and how many of them the snapshot holds.
Trace trace_range(Moment moment, images::DumpPid pid, images::AddressRange range, images::Findings& findings);

// A file of the writable layer; not there: the container image's own shows, or there is none.
Trace trace_file(const images::LayerTree& layer, const std::string& path);

// A variable in the environment of one process, or of the first one that has it.
Trace trace_variable(Moment moment, std::optional<images::DumpPid> pid, const std::string& name,
                     images::Findings& findings);

// A text in the memory of one process, or of all: which have it, how often, and where first. Followed across pages and
// neighbouring mappings; memory that several map is searched in each.
Trace trace_text(Moment moment, std::optional<images::DumpPid> pid, const std::string& text,
                 images::Findings& findings);

// What one process has open.
Trace trace_fds(const images::Checkpoint& checkpoint, images::DumpPid pid);

}  // namespace cprewind::inspect

// Something odd, damaged or unknown in the evidence: a value that is collected and shown, never thrown,
// because half an image is still evidence.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace cprewind::images {

enum class FindingKind {
    absent,      // an image that other images say must be there is not
    empty,       // it is there and holds nothing, not even its magic
    truncated,   // it ends in the middle of something
    damaged,     // it contradicts itself or another image
    unknown,     // a file, field or value this version does not know
    unverified,  // true as far as it goes, but not all could be checked
};

const char* name_of(FindingKind kind);

struct Finding {
    FindingKind kind = FindingKind::damaged;
    std::string file;                // name of the image, "" for the checkpoint as a whole
    std::optional<uint64_t> offset;  // byte in that file
    std::string message;  // what was found and what was expected, one sentence without a final stop
};

using Findings = std::vector<Finding>;

// Appends, up to a limit that only evidence made to exhaust us reaches; the last one then says that more are
// not listed.
void add_finding(Findings& findings, Finding finding);

// Appends those of `more` that are not there yet: an image may be read for the model and again for a view.
void add_new_findings(Findings& findings, const Findings& more);

}  // namespace cprewind::images

// Changes of the memory map itself, told by address: the kernel splits and joins mappings as it likes (mprotect of one
// page makes three of one), so what is compared is what holds at each address, not the list of entries.
#pragma once

#include <functional>
#include <vector>

#include "inspect/diff.h"

namespace cprewind::inspect {

// A mapping of the earlier side that lies elsewhere on the later one (mremap).
struct MovedMapping {
    const images::Mapping* before = nullptr;
    const images::Mapping* after = nullptr;
};

// Whether the content of the two is the same as far as both reach; asked for few pairs only.
using SameContent = std::function<bool(const images::Mapping& before, const images::Mapping& after)>;

struct MappingDiff {
    std::vector<MappingChange> changes;  // by address
    std::vector<MovedMapping> moved;     // these are in `changes`, too
};

// Both processes must outlive the answer.
MappingDiff diff_mappings(const images::Process& a, const images::Process& b,
                          const SameContent& same_content);

}  // namespace cprewind::inspect

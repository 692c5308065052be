// Who has which open file: from the file back to descriptors.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "images/model.h"

namespace cprewind::inspect {

struct Holder {
    images::DumpPid pid;
    uint32_t fd = 0;

    auto operator<=>(const Holder&) const = default;
};

// By id of the file; processes in tree order, then by number.
using Holders = std::map<uint32_t, std::vector<Holder>>;
Holders find_holders(const images::Checkpoint& checkpoint);

// Files at the other end of `file`: of a pipe or FIFO those that can read what it writes or the other way round, of a
// Unix socket its peer.
class OtherEnds {
 public:
    explicit OtherEnds(const images::Checkpoint& checkpoint);
    std::vector<const images::File*> of(const images::File& file) const;

 private:
    std::map<uint64_t, std::vector<const images::File*>> pipes_;
    std::map<uint32_t, std::vector<const images::File*>> unix_by_inode_, unix_by_peer_;
};

}  // namespace cprewind::inspect

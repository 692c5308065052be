// The memory of one process after the other, read in few passes.
//
// A compressed archive can only be read forwards. Who asks it for the command line of each process in turn makes
// it decode everything once for each. So the memory of many processes is opened together, what will be asked for
// is announced (ImageFile::expect), and the first question answers them all.
#pragma once

#include <cstddef>
#include <deque>
#include <optional>
#include <string>

#include "images/checkpoint.h"
#include "images/finding.h"
#include "images/pages.h"

namespace cprewind::images {

// What will be asked for.
enum class ExpectedStrings { arguments, environment, both };

class MemoryWindow {
 public:
    // All three must outlive it. Processes are best asked for in the order of `checkpoint.processes`.
    MemoryWindow(const Checkpoint& checkpoint, const ImageSource& source, ExpectedStrings strings,
                 Findings& findings)
        : checkpoint_(checkpoint), source_(source), strings_(strings), findings_(findings) {}

    // Null when it has none: zombies, and processes of which mm is lost. Valid until the next call. `process` is
    // one of the checkpoint's.
    const AddressSpace* of(const Process& process);

    // Arguments or environment, NUL-separated, as the program left them; `complete` is false when part of it was
    // not dumped or is damaged (then there is a finding).
    std::string arguments_of(const Process& process, bool& complete, uint64_t limit = k_strings_limit);
    std::string environment_of(const Process& process, bool& complete, uint64_t limit = k_strings_limit);

    // Linux lets both together have a quarter of the stack limit, 6 MiB at most by default.
    static constexpr uint64_t k_strings_limit = 16u << 20;

 private:
    void fill(size_t first);
    std::string read(const Process& process, AddressRange range, bool& complete, uint64_t limit);

    const Checkpoint& checkpoint_;
    const ImageSource& source_;
    ExpectedStrings strings_;
    Findings& findings_;
    size_t first_ = 0;  // index of the process that memories_[0] belongs to
    std::deque<std::optional<AddressSpace>> memories_;
};

}  // namespace cprewind::images

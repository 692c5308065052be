#include "images/memory_window.h"

#include <fmt/format.h>

#include "base/error.h"

namespace cprewind::images {

namespace {

// How far one window reaches. In a directory each pages file is a descriptor, of which a process may have 1024;
// a run takes 40 bytes; and what a compressed source keeps of expected parts is limited to 16 MiB.
constexpr size_t k_files_limit = 128;
constexpr size_t k_runs_limit = 300'000;
constexpr uint64_t k_expected_limit = 8u << 20;

bool has_memory(const Process& process) {
    return process.state != ProcessState::zombie && !process.mappings.empty();
}

uint64_t length_of(AddressRange range) {
    return range.end > range.start ? range.end - range.start : 0;
}

}  // namespace

void MemoryWindow::fill(size_t first) {
    memories_.clear();
    first_ = first;
    size_t files = 0, runs = 0;
    uint64_t expected = 0;
    bool arguments = strings_ != ExpectedStrings::environment;
    bool environment = strings_ != ExpectedStrings::arguments;
    for (size_t i = first; i < checkpoint_.processes.size(); ++i) {
        const Process& process = checkpoint_.processes[i];
        if (files >= k_files_limit || runs >= k_runs_limit || expected >= k_expected_limit) break;
        auto& memory = memories_.emplace_back();
        if (!has_memory(process)) continue;
        memory.emplace(source_, process, findings_);
        files += memory->file_count();
        runs += memory->run_count();
        if (arguments) expected += std::min(length_of(process.arguments), k_expected_limit);
        if (environment) expected += std::min(length_of(process.environment), k_expected_limit);
    }
    // Only when all are open: opening may read, and the first read is the one that fetches.
    for (size_t i = 0; i < memories_.size(); ++i) {
        const Process& process = checkpoint_.processes[first + i];
        if (memories_[i] && arguments) memories_[i]->expect(process.arguments);
        if (memories_[i] && environment) memories_[i]->expect(process.environment);
    }
}

const AddressSpace* MemoryWindow::of(const Process& process) {
    auto index = static_cast<size_t>(&process - checkpoint_.processes.data());
    CPREWIND_CHECK(index < checkpoint_.processes.size());
    if (!has_memory(process)) return nullptr;
    if (index < first_ || index - first_ >= memories_.size()) fill(index);
    return &*memories_[index - first_];
}

std::string MemoryWindow::read(const Process& process, AddressRange range, bool& complete, uint64_t limit) {
    complete = false;
    const AddressSpace* memory = of(process);
    if (memory == nullptr) return {};
    try {
        return read_range(*memory, range, limit, complete);
    } catch (const base::Error& error) {
        if (error.kind() != base::ErrorKind::damaged) throw;
        complete = false;
        add_finding(findings_,
                    {FindingKind::damaged,
                     memory->own_pages().pages_name(),
                     {},
                     fmt::format("strings of process {}: {}", process.pid.value, error.message())});
        return {};
    }
}

std::string MemoryWindow::arguments_of(const Process& process, bool& complete, uint64_t limit) {
    return read(process, process.arguments, complete, limit);
}

std::string MemoryWindow::environment_of(const Process& process, bool& complete, uint64_t limit) {
    return read(process, process.environment, complete, limit);
}

}  // namespace cprewind::images

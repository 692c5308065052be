// A process as an ELF core file, for gdb, lldb and whatever else reads one.
//
//   ELF header | program headers | notes | memory, page by page
//
// A mapping becomes one segment, or several where it changes between pages whose content is known (in the file) and
// pages whose content is not (no bytes in the file: a debugger then looks into the mapped file itself, which NT_FILE
// names). Known are: what the dump holds, zeros, shared memory, and pages of mapped files that can be opened. With more
// than 65,534 segments their count is in the first section header, as the kernel does it.
//
// The output is sparse: pages of nothing but zeros are never written. Memory is bounded: a block for each worker.
#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "inspect/container_files.h"
#include "inspect/core_notes.h"
#include "inspect/moment.h"

namespace cprewind::inspect {

// Of a mapping of which not all pages are in the core.
struct CoreGap {
    uint64_t start = 0;  // of the mapping
    std::string path;    // or its kind
    uint64_t bytes = 0;
    std::string why;
};

// Why vvar and its like are never there: nothing to worry about.
inline constexpr const char* k_kernel_gap = "it is the kernel's own";

struct CoreSegment {
    uint64_t address = 0;
    uint64_t bytes = 0;
    bool has_content = false;
    uint32_t protection = 0;  // PROT_*
    uint64_t offset = 0;      // in the core
};

// Everything about the core but the bytes of memory.
class CoreFile {
 public:
    // Errors: unsupported for zombies, 32-bit code and other architectures than x86_64 and aarch64. `files` must outlive
    // this; so must the moment's parts and `process`.
    CoreFile(Moment moment, const images::Process& process, const ContainerFiles& files,
             images::Findings& findings);

    uint64_t size() const { return size_; }
    uint64_t memory_bytes() const { return memory_bytes_; }  // with content
    size_t threads() const { return threads_; }
    const std::vector<CoreSegment>& segments() const { return segments_; }
    const std::vector<CoreGap>& gaps() const { return gaps_; }
    // Zeros in the core, because nothing at hand has them: lost, in an absent parent, left behind by lazy migration.
    uint64_t lost_bytes() const { return lost_bytes_; }

    // Gets all that is not zero: with one worker in ascending order, with several from their threads at the same time.
    using Sink = std::function<void(uint64_t offset, std::span<const std::byte> bytes)>;
    // Memory bytes done, of memory_bytes().
    using Report = std::function<void(uint64_t done)>;
    // One worker for what can only be read forward, as compressed archives are.
    void write(const Sink& sink, const Report& report, size_t workers) const;

 private:
    struct Writer;
    void plan_mapping(const images::Mapping& mapping);
    std::string make_head(const std::string& notes) const;

    Moment moment_;
    const images::Process& process_;
    images::AddressSpace memory_;
    images::Architecture architecture_ = images::Architecture::unknown;
    std::vector<CoreSegment> segments_;
    const ContainerFiles& files_;
    mutable std::mutex files_lock_;  // what lies in the writable layer is read from one file
    std::vector<CoreGap> gaps_;
    std::string head_;  // all before memory
    size_t threads_ = 0;
    uint64_t size_ = 0;
    uint64_t memory_bytes_ = 0;
    uint64_t lost_bytes_ = 0;
};

}  // namespace cprewind::inspect

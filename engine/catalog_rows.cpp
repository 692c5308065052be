#include "engine/catalog_rows.h"

#include "images/memory_window.h"

namespace cprewind::engine {
namespace {

using namespace images;

// Command lines longer than this are cut in the catalog; `inspect` shows them whole.
constexpr uint64_t k_argument_limit = 4096;

uint64_t dumped_bytes(const AddressSpace& memory, const Mapping& mapping) {
    uint64_t total = 0;
    memory.visit(mapping.start, mapping.size(), [&](const AddressSpace::Part& part) {
        if (part.state == PageState::present) total += part.bytes;
    });
    return total;
}

void add_process(const Checkpoint& checkpoint, MemoryWindow& memories, const Process& process,
                 store::CatalogRows& rows) {
    store::ProcessRow row;
    row.pid = process.pid.value;
    row.parent_pid = process.ppid.value;
    row.command = process.comm;
    row.executable = process.executable;
    row.state = name_of(process.state);
    row.threads = process.threads.size();
    if (const AddressSpace* memory = memories.of(process)) {
        bool complete = false;
        row.arguments = memories.arguments_of(process, complete, k_argument_limit);
        row.resident_bytes = memory->own_pages().present_bytes();
        for (const Mapping& mapping : process.mappings) {
            rows.mappings.push_back({process.pid.value, mapping.start, mapping.end, protection_text(mapping),
                                     name_of(mapping.kind), mapping.path, dumped_bytes(*memory, mapping)});
        }
    }
    for (const FileDescriptor& fd : process.fds) {
        const File* file = checkpoint.find_file(fd.file_id);
        rows.fds.push_back({process.pid.value, fd.fd, file != nullptr ? name_of(file->kind) : "unknown",
                            file != nullptr ? file->description : std::string()});
    }
    rows.processes.push_back(std::move(row));
}

}  // namespace

store::CatalogRows make_catalog_rows(const Checkpoint& checkpoint, const ImageSource& source,
                                     const LayerTree& layer) {
    store::CatalogRows rows;
    Findings ignored;  // load_checkpoint and the views report them
    MemoryWindow memories(checkpoint, source, ExpectedStrings::arguments, ignored);
    for (const Process& process : checkpoint.processes) add_process(checkpoint, memories, process, rows);
    for (const LayerEntry& entry : layer.entries) {
        rows.files.push_back({entry.path, entry.is_whiteout() ? "whiteout" : name_of(entry.type), entry.size,
                              entry.mtime_ns, entry.digest ? entry.digest->hex() : std::string()});
    }
    return rows;
}

}  // namespace cprewind::engine

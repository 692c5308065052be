#include "inspect/mem.h"

#include "images/pages.h"

namespace cprewind::inspect {

PageCounts& PageCounts::operator+=(const PageCounts& other) {
    present += other.present;
    zero += other.zero;
    file += other.file;
    kernel += other.kernel;
    absent += other.absent;
    return *this;
}

namespace {

PageCounts count_pages(const images::AddressSpace& memory, const images::Mapping& mapping) {
    PageCounts counts;
    uint64_t page = memory.page_size();
    memory.visit(mapping.start, mapping.size(), [&](const images::AddressSpace::Part& part) {
        uint64_t pages = part.bytes / page;
        switch (part.state) {
            case images::PageState::present:
                counts.present += pages;
                break;
            case images::PageState::zero:
                counts.zero += pages;
                break;
            case images::PageState::from_file:
                counts.file += pages;
                break;
            case images::PageState::kernel:
                counts.kernel += pages;
                break;
            case images::PageState::parent:
            case images::PageState::lazy:
            case images::PageState::missing:
            case images::PageState::unmapped:
                counts.absent += pages;
                break;
        }
    });
    return counts;
}

ProcessMemory list_process(Moment moment, const images::Process& process, images::Findings& findings) {
    images::AddressSpace memory(moment.source, process, findings);
    ProcessMemory out;
    out.pid = process.pid;
    out.comm = process.comm;
    out.page_size = memory.page_size();
    for (const images::Mapping& mapping : process.mappings) {
        MemRow row;
        row.start = mapping.start;
        row.end = mapping.end;
        row.protection = images::protection_text(mapping);
        row.kind = mapping.kind;
        row.path = mapping.path;
        row.offset = mapping.offset;
        row.pages = count_pages(memory, mapping);
        row.dumped_bytes = row.pages.present * out.page_size;
        out.pages += row.pages;
        out.mapped_bytes += mapping.size();
        out.dumped_bytes += row.dumped_bytes;
        out.rows.push_back(std::move(row));
    }
    return out;
}

}  // namespace

MemView list_memory(Moment moment) {
    MemView view;
    for (const images::Process& process : moment.checkpoint.processes) {
        if (process.state == images::ProcessState::zombie) continue;
        view.processes.push_back(list_process(moment, process, view.findings));
    }
    return view;
}

}  // namespace cprewind::inspect

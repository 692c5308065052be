#include "inspect/mem.h"

#include <sys/mman.h>

#include <map>
#include <set>

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

MemoryAccount& MemoryAccount::operator+=(const MemoryAccount& other) {
    private_bytes += other.private_bytes;
    shared_bytes += other.shared_bytes;
    proportional_bytes += other.proportional_bytes;
    return *this;
}

namespace {

// How many processes map each shared object.
using Sharers = std::map<uint64_t, uint64_t>;

Sharers count_sharers(const images::Checkpoint& checkpoint) {
    Sharers sharers;
    for (const images::Process& process : checkpoint.processes) {
        std::set<uint64_t> objects;
        for (const images::Mapping& mapping : process.mappings) {
            if (mapping.has_object() && objects.insert(mapping.shmid).second) ++sharers[mapping.shmid];
        }
    }
    return sharers;
}

std::vector<std::string> advice_names(uint64_t advice) {
    struct Name {
        unsigned number;
        const char* name;
    };
    constexpr Name k_names[] = {{MADV_DONTFORK, "dontfork"}, {MADV_MERGEABLE, "mergeable"},
                                {MADV_HUGEPAGE, "hugepage"}, {MADV_NOHUGEPAGE, "nohugepage"},
                                {MADV_DONTDUMP, "dontdump"}, {MADV_WIPEONFORK, "wipeonfork"}};
    std::vector<std::string> names;
    for (const Name& each : k_names) {
        if ((advice >> each.number & 1) != 0) names.emplace_back(each.name);
    }
    return names;
}

PageCounts count_pages(const images::AddressSpace& memory, const images::Mapping& mapping,
                       MemoryAccount& account) {
    PageCounts counts;
    uint64_t page = memory.page_size();
    memory.visit(mapping.start, mapping.size(), [&](const images::AddressSpace::Part& part) {
        uint64_t pages = part.bytes / page;
        switch (part.state) {
            case images::PageState::present:
                counts.present += pages;
                (part.pages == &memory.own_pages() ? account.private_bytes : account.shared_bytes) +=
                    part.bytes;
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

ProcessMemory list_process(Moment moment, const images::Process& process, const Sharers& sharers,
                           images::Findings& findings) {
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
        row.pages = count_pages(memory, mapping, row.account);
        auto shared_by = sharers.find(mapping.shmid);
        row.account.proportional_bytes =
            row.account.private_bytes +
            row.account.shared_bytes /
                (shared_by != sharers.end() && mapping.has_object() ? shared_by->second : 1);
        row.advice = advice_names(mapping.advice);
        out.account += row.account;
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
    Sharers sharers = count_sharers(moment.checkpoint);
    for (const images::Process& process : moment.checkpoint.processes) {
        if (process.state == images::ProcessState::zombie) continue;
        view.processes.push_back(list_process(moment, process, sharers, view.findings));
    }
    return view;
}

}  // namespace cprewind::inspect

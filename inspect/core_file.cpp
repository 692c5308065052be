#include "inspect/core_file.h"

#include <elf.h>
#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <tuple>

#include "base/error.h"
#include "images/pages.h"
#include "inspect/ordered_work.h"
#include "inspect/thread_registers.h"

namespace cprewind::inspect {

namespace {

using base::Error;
using base::ErrorKind;
using images::AddressSpace;
using images::Architecture;
using images::Mapping;
using images::PageState;
using images::Process;

constexpr uint64_t k_block = 1u << 20;
constexpr uint64_t k_zero_unit = 4096;
// What a worker takes at once: enough for a stream to get going, little enough to have something to report.
constexpr uint64_t k_piece = 16u << 20;

template <typename T>
void append_struct(std::string& out, const T& value) {
    out.append(reinterpret_cast<const char*>(&value), sizeof(value));
}

bool all_zero(std::span<const std::byte> bytes) {
    return bytes[0] == std::byte{0} && std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0;
}

// Hands on `bytes` without those of its pages that are zero.
void give(const CoreFile::Sink& sink, uint64_t offset, std::span<const std::byte> bytes) {
    size_t begin = 0;  // of what is not zero
    auto flush = [&](size_t end) {
        if (end > begin) sink(offset + begin, bytes.subspan(begin, end - begin));
    };
    for (size_t at = 0; at < bytes.size(); at += k_zero_unit) {
        size_t size = std::min<size_t>(k_zero_unit, bytes.size() - at);
        if (!all_zero(bytes.subspan(at, size))) continue;
        flush(at);
        begin = at + size;
    }
    flush(bytes.size());
}

// Address space that was set aside and never written, terabytes of it in some programs: what cannot be accessed, and
// what the program itself wants in no core (the shadow of sanitizers).
bool is_reserve(const Mapping& mapping) {
    return mapping.protection == PROT_NONE || (mapping.advice >> MADV_DONTDUMP & 1) != 0;
}

std::vector<CoreThread> load_threads(Moment moment, const Process& process, const AddressSpace& memory,
                                     images::Findings& findings) {
    std::vector<CoreThread> threads;
    for (const images::Thread& thread : process.threads) {
        auto state = load_registers(moment, memory, thread.tid, findings);
        if (!state || state->general.empty()) continue;
        if (state->is_32_bit) {
            throw Error(ErrorKind::unsupported,
                        fmt::format("process {} ran 32-bit code; cores are made of 64-bit processes only",
                                    process.pid.value));
        }
        threads.push_back({thread, std::move(*state)});
    }
    return threads;
}

}  // namespace

CoreFile::CoreFile(Moment moment, const Process& process, const ContainerFiles& files,
                   images::Findings& findings)
    : moment_(moment), process_(process), memory_(moment.source, process, findings), files_(files) {
    if (process.state == images::ProcessState::zombie) {
        throw Error(ErrorKind::unsupported,
                    fmt::format("process {} is a zombie: it had no memory any more", process.pid.value));
    }
    std::vector<CoreThread> threads = load_threads(moment, process, memory_, findings);
    if (threads.empty()) {
        throw Error(
            ErrorKind::unsupported,
            fmt::format("no registers of process {} could be read, or they are of {}; cores are made for "
                        "x86_64 and aarch64",
                        process.pid.value, images::name_of(moment.checkpoint.architecture)));
    }
    architecture_ = threads.front().state.architecture;
    threads_ = threads.size();
    for (const Mapping& mapping : process.mappings) plan_mapping(mapping);
    std::string notes = make_core_notes(moment, process, memory_, threads);
    head_ = make_head(notes);
    uint64_t page = memory_.page_size();
    size_ = (head_.size() + page - 1) / page * page;
    for (CoreSegment& segment : segments_) {
        segment.offset = size_;
        if (!segment.has_content) continue;
        if (segment.bytes > static_cast<uint64_t>(INT64_MAX) - size_) {
            throw Error(
                ErrorKind::unsupported,
                fmt::format(
                    "the mappings of process {} are larger than a file can be: the images are damaged",
                    process.pid.value));
        }
        size_ += segment.bytes;
    }
    // Once more, now that it is known where each segment lies.
    head_ = make_head(notes);
}

void CoreFile::plan_mapping(const Mapping& mapping) {
    ContainerFiles::Found found;
    if (mapping.is_file()) found = files_.open_mapped(mapping.path, mapping.file_id);
    CoreGap gap{mapping.start, mapping.path.empty() ? images::name_of(mapping.kind) : mapping.path, 0, {}};
    auto add = [&](uint64_t address, uint64_t bytes, bool has_content) {
        if (has_content) memory_bytes_ += bytes;
        CoreSegment* last = segments_.empty() ? nullptr : &segments_.back();
        if (last != nullptr && last->address >= mapping.start && last->has_content == has_content) {
            last->bytes += bytes;
        } else {
            segments_.push_back({address, bytes, has_content, mapping.protection, 0});
        }
    };
    memory_.visit(mapping.start, mapping.size(), [&](const AddressSpace::Part& part) {
        switch (part.state) {
            case PageState::present:
                return add(part.address, part.bytes, true);
            case PageState::zero:
                return add(part.address, part.bytes, !is_reserve(mapping));
            case PageState::from_file:
                if (found.file) return add(part.address, part.bytes, true);
                gap.why = found.why_not;
                break;
            case PageState::kernel:
                gap.why = k_kernel_gap;
                break;
            case PageState::parent:
                gap.why = "it is in a parent checkpoint that is not at hand";
                lost_bytes_ += part.bytes;
                break;
            case PageState::lazy:
            case PageState::missing:
            case PageState::unmapped:
                gap.why = "the images do not hold it";
                lost_bytes_ += part.bytes;
                break;
        }
        gap.bytes += part.bytes;
        add(part.address, part.bytes, false);
    });
    if (gap.bytes > 0) gaps_.push_back(std::move(gap));
}

std::string CoreFile::make_head(const std::string& notes) const {
    bool many = segments_.size() + 1 >= PN_XNUM;
    Elf64_Ehdr header{};
    std::memcpy(header.e_ident, ELFMAG, SELFMAG);
    header.e_ident[EI_CLASS] = ELFCLASS64;
    header.e_ident[EI_DATA] = ELFDATA2LSB;
    header.e_ident[EI_VERSION] = EV_CURRENT;
    header.e_type = ET_CORE;
    header.e_machine = architecture_ == Architecture::aarch64 ? EM_AARCH64 : EM_X86_64;
    header.e_version = EV_CURRENT;
    header.e_phoff = sizeof(header);
    header.e_ehsize = sizeof(header);
    header.e_phentsize = sizeof(Elf64_Phdr);
    header.e_phnum = many ? PN_XNUM : static_cast<Elf64_Half>(segments_.size() + 1);
    uint64_t after = sizeof(header) + (segments_.size() + 1) * sizeof(Elf64_Phdr);
    Elf64_Shdr count{};
    if (many) {
        header.e_shoff = after;
        header.e_shentsize = sizeof(Elf64_Shdr);
        header.e_shnum = 1;
        count.sh_info = static_cast<Elf64_Word>(segments_.size() + 1);
        count.sh_size = 1;
        after += sizeof(count);
    }
    std::string out;
    append_struct(out, header);
    Elf64_Phdr note{};
    note.p_type = PT_NOTE;
    note.p_offset = after;
    note.p_filesz = notes.size();
    note.p_align = 4;
    append_struct(out, note);
    for (const CoreSegment& segment : segments_) {
        Elf64_Phdr load{};
        load.p_type = PT_LOAD;
        if ((segment.protection & PROT_READ) != 0) load.p_flags |= PF_R;
        if ((segment.protection & PROT_WRITE) != 0) load.p_flags |= PF_W;
        if ((segment.protection & PROT_EXEC) != 0) load.p_flags |= PF_X;
        load.p_offset = segment.offset;
        load.p_vaddr = segment.address;
        load.p_memsz = segment.bytes;
        load.p_filesz = segment.has_content ? segment.bytes : 0;
        load.p_align = memory_.page_size();
        append_struct(out, load);
    }
    if (many) append_struct(out, count);
    return out + notes;
}

// One worker's way to the memory: streams go forward, each in its own piece.
struct CoreFile::Writer {
    Writer(const CoreFile& of, const Sink& to, images::Findings& findings)
        : core(of), sink(to), memory(of.moment_.source, of.process_, findings) {}

    const CoreFile& core;
    const Sink& sink;
    AddressSpace memory;
    std::map<const images::PageMap*, images::RunStream> streams;
    std::vector<std::byte> block;

    void present(const AddressSpace::Part& part, uint64_t offset) {
        images::RunStream& stream = streams.try_emplace(part.pages, *part.pages).first->second;
        for (uint64_t done = 0; done < part.bytes;) {
            auto bytes = stream.at(*part.run, part.run_address + done);
            bytes = bytes.first(static_cast<size_t>(std::min<uint64_t>(bytes.size(), part.bytes - done)));
            if (bytes.empty()) {
                // The last part of a page, of a mapping whose borders are none of pages.
                block.resize(k_block);
                auto rest = std::span(block).first(static_cast<size_t>(std::min(k_block, part.bytes - done)));
                part.pages->read_run(*part.run, part.run_address + done, rest);
                bytes = rest;
            }
            give(sink, offset + done, bytes);
            done += bytes.size();
        }
    }

    // What is behind the end of the file reads as zeros in its last page and not at all further on.
    void from_file(const images::ImageFile& file, uint64_t place, uint64_t size, uint64_t offset) {
        block.resize(k_block);
        for (uint64_t done = 0; done < size;) {
            auto part = std::span(block).first(static_cast<size_t>(std::min(k_block, size - done)));
            size_t got = file.read_at(place + done, part);
            if (got == 0) return;
            give(sink, offset + done, part.first(got));
            done += got;
        }
    }

    void piece(const CoreSegment& segment, uint64_t begin, uint64_t size) {
        auto next =
            std::upper_bound(core.process_.mappings.begin(), core.process_.mappings.end(), segment.address,
                             [](uint64_t a, const Mapping& mapping) { return a < mapping.start; });
        const Mapping& mapping = *std::prev(next);
        // One at a time: a process may have mapped more files than we may have open.
        std::unique_ptr<images::ImageFile> file;
        if (mapping.is_file()) file = core.files_.open_mapped(mapping.path, mapping.file_id).file;
        memory.visit(segment.address + begin, size, [&](const AddressSpace::Part& part) {
            uint64_t offset = segment.offset + (part.address - segment.address);
            if (part.state == PageState::present) present(part, offset);
            if (part.state == PageState::from_file && file) {
                std::lock_guard guard(core.files_lock_);
                from_file(*file, mapping.offset + (part.address - mapping.start), part.bytes, offset);
            }
        });
    }
};

void CoreFile::write(const Sink& sink, const Report& report, size_t workers) const {
    sink(0, std::as_bytes(std::span(head_)));
    struct Begin {
        size_t piece = 0;  // the segment's first
        const CoreSegment* segment = nullptr;
    };
    std::vector<Begin> begins;
    size_t pieces = 0;
    for (const CoreSegment& segment : segments_) {
        if (!segment.has_content) continue;
        begins.push_back({pieces, &segment});
        pieces += static_cast<size_t>((segment.bytes + k_piece - 1) / k_piece);
    }
    // Where a piece begins in its segment, and how much it is.
    auto place = [&](size_t piece) {
        auto next = std::upper_bound(begins.begin(), begins.end(), piece,
                                     [](size_t a, const Begin& b) { return a < b.piece; });
        const Begin& of = *std::prev(next);
        uint64_t begin = (piece - of.piece) * k_piece;
        return std::tuple(of.segment, begin, std::min(k_piece, of.segment->bytes - begin));
    };
    images::Findings told_before;
    std::vector<std::unique_ptr<Writer>> writers;
    for (size_t i = 0; i < std::min(workers, pieces); ++i)
        writers.push_back(std::make_unique<Writer>(*this, sink, told_before));
    uint64_t done = 0;
    OrderedWork work;
    work.work = [&](size_t worker, size_t piece, size_t) {
        auto [segment, begin, size] = place(piece);
        writers[worker]->piece(*segment, begin, size);
    };
    work.finish = [&](size_t piece, size_t) {
        done += std::get<2>(place(piece));
        report(done);
        return true;
    };
    run_ordered(pieces, writers.size(), work);
}

}  // namespace cprewind::inspect

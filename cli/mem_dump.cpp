// `cprewind mem SNAP dump` and `hexdump`: memory as it is, and said where it is not there.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>

#include "base/error.h"
#include "base/fd.h"
#include "base/text.h"
#include "cli/json_text.h"
#include "cli/mem_words.h"
#include "images/pages.h"

namespace cprewind::cli {

using base::Error;
using base::ErrorKind;
using images::PageState;
using Part = images::AddressSpace::Part;

namespace {

constexpr uint64_t k_step = 1u << 20;

// What was chosen, as ranges in order: ranges as they were given, else mappings.
struct Region {
    const images::Mapping* mapping = nullptr;  // null: a range that was asked for
    images::AddressRange range;
};

std::vector<Region> chosen_regions(const MemRequest& request, const images::Process& process) {
    const inspect::MemoryFilter& filter = request.filter;
    bool mappings_named = !filter.kinds.empty() || !filter.protection.empty() || !filter.mapping.empty();
    std::vector<Region> regions;
    if (!filter.ranges.empty() && !mappings_named) {
        for (const images::AddressRange& range : filter.ranges) regions.push_back({nullptr, range});
        return regions;
    }
    for (const images::Mapping& mapping : process.mappings) {
        if (!filter.selects(&mapping)) continue;
        if (filter.ranges.empty()) regions.push_back({&mapping, {mapping.start, mapping.end}});
        for (const images::AddressRange& range : filter.ranges) {
            uint64_t start = std::max(mapping.start, range.start), end = std::min(mapping.end, range.end);
            if (start < end) regions.push_back({&mapping, {start, end}});
        }
    }
    if (!regions.empty()) return regions;
    throw Error(
        ErrorKind::not_found, fmt::format("process {} has no such memory", process.pid.value),
        fmt::format("`cprewind inspect SNAPSHOT mem --pid {}` lists its mappings", process.pid.value));
}

bool is_known(PageState state) {
    return state == PageState::present || state == PageState::zero;
}

const images::Mapping* mapping_at(const images::Process& process, uint64_t address) {
    auto found = std::partition_point(process.mappings.begin(), process.mappings.end(),
                                      [&](const images::Mapping& mapping) { return mapping.end <= address; });
    return found != process.mappings.end() && found->start <= address ? &*found : nullptr;
}

// Where the bytes go: a file, with holes where there is nothing, or standard output, with zeros there.
class DumpTarget {
 public:
    DumpTarget(const std::string& path, bool holes, Output& output)
        : path_(path), holes_(holes), output_(output) {
        if (path_.empty()) return;
        try {
            fd_ = base::open_file(path_, O_WRONLY | O_CREAT | O_EXCL);
        } catch (const Error& error) {
            throw Error(error.kind(), error.message(),
                        "nothing that is there is overwritten: choose another name");
        }
    }

    bool write(std::span<const std::byte> bytes) {
        if (fd_) {
            base::pwrite_full(fd_.get(), bytes, offset_, path_);
        } else {
            std::fwrite(bytes.data(), 1, bytes.size(), stdout);
            if (!output_.flush()) return false;
        }
        offset_ += bytes.size();
        return true;
    }

    bool skip(uint64_t bytes) {
        if (fd_ && holes_) {
            offset_ += bytes;
            return true;
        }
        static const std::vector<std::byte> k_zeros(k_step);
        for (uint64_t done = 0; done < bytes; done += std::min(k_step, bytes - done)) {
            if (!write(std::span(k_zeros).first(static_cast<size_t>(std::min(k_step, bytes - done)))))
                return false;
        }
        return true;
    }

    void end() {
        if (fd_ && ::ftruncate(fd_.get(), static_cast<off_t>(offset_)) != 0)
            base::throw_errno(errno, "write " + path_);
    }
    uint64_t offset() const { return offset_; }

 private:
    std::string path_;
    bool holes_;
    Output& output_;
    base::Fd fd_;
    uint64_t offset_ = 0;
};

// One line of the list of what is where in the file.
struct DumpedPart {
    uint64_t file_offset = 0;
    uint64_t address = 0;
    uint64_t bytes = 0;
    PageState state = PageState::present;
    const images::Mapping* mapping = nullptr;
};

class Dump {
 public:
    Dump(const images::Process& process, const images::AddressSpace& memory, DumpTarget& target,
         bool only_known, Progress& progress, uint64_t total)
        : process_(process),
          memory_(memory),
          target_(target),
          only_known_(only_known),
          progress_(progress),
          total_(total) {}

    // False: whoever reads it has gone.
    bool add(const images::AddressRange& range) {
        bool more = true;
        memory_.visit(range.start, range.end - range.start, [&](const Part& part) {
            if (more && (is_known(part.state) || !only_known_)) more = write(part);
            done_ += part.bytes;
            progress_.show("writing", done_, total_);
        });
        return more;
    }

    const std::vector<DumpedPart>& parts() const { return parts_; }

 private:
    bool write(const Part& part) {
        note(part);
        if (part.state != PageState::present) return target_.skip(part.bytes);
        for (uint64_t done = 0; done < part.bytes;) {
            buffer_.resize(static_cast<size_t>(std::min(k_step, part.bytes - done)));
            part.pages->read_run(*part.run, part.run_address + done, buffer_);
            if (!target_.write(buffer_)) return false;
            done += buffer_.size();
        }
        return true;
    }

    void note(const Part& part) {
        const images::Mapping* mapping = mapping_at(process_, part.address);
        if (!parts_.empty()) {
            DumpedPart& last = parts_.back();
            if (last.state == part.state && last.mapping == mapping &&
                last.address + last.bytes == part.address) {
                last.bytes += part.bytes;
                return;
            }
        }
        parts_.push_back({target_.offset(), part.address, part.bytes, part.state, mapping});
    }

    const images::Process& process_;
    const images::AddressSpace& memory_;
    DumpTarget& target_;
    bool only_known_;
    Progress& progress_;
    uint64_t total_;
    uint64_t done_ = 0;
    std::vector<std::byte> buffer_;
    std::vector<DumpedPart> parts_;
};

std::vector<inspect::UnreadMemory> unread_of(const images::Process& process,
                                             const std::vector<DumpedPart>& parts) {
    std::vector<inspect::UnreadMemory> unread;
    for (const DumpedPart& part : parts) {
        if (!is_known(part.state))
            unread.push_back({process.pid, part.mapping, part.address, part.bytes, part.state});
    }
    return unread;
}

void print_dump(MemRequest& request, const images::Process& process, const std::vector<DumpedPart>& parts,
                uint64_t size) {
    Output& output = request.context.output;
    if (request.context.json) {
        Json document;
        document["subject"] = request.subject.name;
        document["pid"] = process.pid.value;
        put_bytes(document, "file", request.parsed.text("output"));
        document["size"] = size;
        Json list = Json::array();
        for (const DumpedPart& part : parts) {
            Json item;
            item["file_offset"] = part.file_offset;
            item["address"] = hex_number(part.address);
            item["bytes"] = part.bytes;
            item["state"] = images::name_of(part.state);
            item["protection"] = part.mapping ? Json(images::protection_text(*part.mapping)) : Json();
            item["kind"] = part.mapping ? Json(images::name_of(part.mapping->kind)) : Json();
            put_bytes(item, "path", part.mapping ? part.mapping->path : "");
            list.push_back(std::move(item));
        }
        document["parts"] = std::move(list);
        document["findings"] = findings_json(request.findings);
        output.json(document);
        return;
    }
    Table table({"offset", "range", "prot", "content", "mapping"});
    for (const DumpedPart& part : parts) {
        const char* content = part.state == PageState::present ? "dumped"
                              : part.state == PageState::zero  ? "zeros"
                                                               : images::name_of(part.state);
        table.add({fmt::format("{:#x}", part.file_offset),
                   fmt::format("{:012x}-{:012x}", part.address, part.address + part.bytes),
                   mapping_protection(part.mapping), content, base::escape(mapping_label(part.mapping))});
    }
    output.table(table);
    print_findings(output, request.findings);
}

// --- hexdump ---

std::string hex_line(uint64_t address, std::span<const std::byte> bytes) {
    std::string hex, text;
    for (size_t i = 0; i < 16; ++i) {
        if (i == 8) hex += ' ';
        if (i >= bytes.size()) {
            hex += "   ";
            continue;
        }
        auto value = static_cast<unsigned char>(bytes[i]);
        hex += fmt::format(" {:02x}", value);
        text += value >= 0x20 && value < 0x7f ? static_cast<char>(value) : '.';
    }
    return fmt::format("{:016x} {}  |{}|", address, hex, text);
}

class HexText {
 public:
    HexText(Output& output, const images::Process& process, bool all)
        : output_(output), process_(process), all_(all) {}

    bool add(const Part& part) {
        const images::Mapping* mapping = mapping_at(process_, part.address);
        if (first_ || mapping != mapping_) {
            std::string range =
                mapping ? fmt::format("{:012x}-{:012x} ", mapping->start, mapping->end) : std::string();
            output_.line(output_.paint(Colour::bold, fmt::format("{} {}{} {}", process_.pid.value, range,
                                                                 mapping_protection(mapping),
                                                                 base::escape(mapping_label(mapping)))));
        }
        first_ = false;
        mapping_ = mapping;
        if (part.state == PageState::present) return content(part);
        std::string what = part.state == PageState::zero        ? "zeros, never written"
                           : part.state == PageState::from_file ? "not in the dump: as in the mapped file"
                           : part.state == PageState::kernel    ? "not in the dump: the kernel's own"
                           : part.state == PageState::unmapped
                               ? "nothing is mapped here"
                               : fmt::format("not in the dump: {}", images::name_of(part.state));
        output_.line(fmt::format("{:016x}  {}: {}", part.address, base::human_bytes(part.bytes), what));
        last_.clear();
        return output_.flush();
    }

 private:
    bool content(const Part& part) {
        for (uint64_t done = 0; done < part.bytes;) {
            buffer_.resize(static_cast<size_t>(std::min(k_step, part.bytes - done)));
            part.pages->read_run(*part.run, part.run_address + done, buffer_);
            for (size_t at = 0; at < buffer_.size(); at += 16) {
                auto bytes = std::span<const std::byte>(buffer_).subspan(
                    at, std::min<size_t>(16, buffer_.size() - at));
                bool same = !all_ && bytes.size() == 16 &&
                            std::equal(bytes.begin(), bytes.end(), last_.begin(), last_.end());
                if (!same) output_.line(hex_line(part.address + done + at, bytes));
                if (same && !squeezed_) output_.line("*");
                squeezed_ = same;
                last_.assign(bytes.begin(), bytes.end());
            }
            done += buffer_.size();
            if (!output_.flush()) return false;
        }
        // Where it ends, after lines that were left out.
        if (squeezed_) output_.line(fmt::format("{:016x}", part.address + part.bytes));
        squeezed_ = false;
        last_.clear();
        return true;
    }

    Output& output_;
    const images::Process& process_;
    bool all_;
    bool first_ = true;
    bool squeezed_ = false;
    const images::Mapping* mapping_ = nullptr;
    std::vector<std::byte> last_, buffer_;
};

bool add_hex_json(JsonListWriter& writer, const images::Process& process, const Part& part) {
    for (uint64_t done = 0; done < part.bytes;) {
        uint64_t bytes =
            part.state == PageState::present ? std::min<uint64_t>(64u << 10, part.bytes - done) : part.bytes;
        Json item;
        put_place(item, process, mapping_at(process, part.address), part.address + done);
        item["bytes"] = bytes;
        item["state"] = images::name_of(part.state);
        item["hex"] = nullptr;
        if (part.state == PageState::present) {
            std::vector<std::byte> buffer(static_cast<size_t>(bytes));
            part.pages->read_run(*part.run, part.run_address + done, buffer);
            item["hex"] = base::to_hex(buffer);
        }
        writer.add(item);
        done += bytes;
    }
    return true;
}

}  // namespace

int mem_dump(MemRequest& request) {
    if (!request.words.empty())
        throw Error(ErrorKind::usage, "dump takes no words",
                    "choose memory with --range, --vma, --kind, --protection");
    const images::Process& process = only_process(request);
    std::vector<Region> regions = chosen_regions(request, process);
    std::string path = request.parsed.text("output");
    if (path == "-") path.clear();
    bool sparse = request.parsed.has("sparse"), raw = request.parsed.has("raw");
    if (sparse && raw) throw Error(ErrorKind::usage, "--sparse and --raw exclude each other");
    if (path.empty() && (sparse || request.context.json))
        throw Error(ErrorKind::usage, "this needs a file to write to", "give one with --output FILE");
    if (path.empty() && request.context.output.to_terminal())
        throw Error(ErrorKind::usage, "memory would go to the terminal",
                    "give --output FILE, or use hexdump");

    images::AddressSpace memory(request.subject.moment().source, process, request.findings);
    uint64_t total = 0;
    for (const Region& region : regions) total += region.range.end - region.range.start;
    DumpTarget target(path, !raw, request.context.output);
    Progress progress(!request.context.json);
    Dump dump(process, memory, target, request.parsed.has("only-dumped"), progress, total);
    for (const Region& region : regions) {
        if (!dump.add(region.range)) return exit_reader_gone;
    }
    target.end();
    progress.clear();
    if (!path.empty()) print_dump(request, process, dump.parts(), target.offset());
    complain_of_unread(unread_of(process, dump.parts()));
    return request.findings.empty() ? exit_done : exit_findings;
}

int mem_hexdump(MemRequest& request) {
    if (request.words.size() > 2)
        throw Error(ErrorKind::usage, "hexdump takes an address and a length", "as in: hexdump 7f0010a0 256");
    if (!request.words.empty()) {
        uint64_t address = parse_memory_address(request.words[0]);
        uint64_t length = request.words.size() > 1 ? parse_memory_length(request.words[1]) : 256;
        request.filter.ranges = {{address, length > UINT64_MAX - address ? UINT64_MAX : address + length}};
    } else if (request.filter.ranges.empty() && request.filter.mapping.empty() &&
               request.filter.kinds.empty() && request.filter.protection.empty()) {
        throw Error(ErrorKind::usage, "which memory?", "give an address, --range or --vma");
    }
    const images::Process& process = only_process(request);
    std::vector<Region> regions = chosen_regions(request, process);
    images::AddressSpace memory(request.subject.moment().source, process, request.findings);
    Output& output = request.context.output;
    std::optional<JsonListWriter> writer;
    if (request.context.json) {
        Json before;
        before["subject"] = request.subject.name;
        writer.emplace(output, before, "parts");
    }
    HexText text(output, process, request.parsed.has("all"));
    bool more = true;
    for (const Region& region : regions) {
        memory.visit(region.range.start, region.range.end - region.range.start, [&](const Part& part) {
            if (more) more = writer ? add_hex_json(*writer, process, part) : text.add(part);
        });
    }
    if (writer) {
        Json after;
        after["findings"] = findings_json(request.findings);
        writer->end(after);
    } else {
        print_findings(output, request.findings);
    }
    return request.findings.empty() ? exit_done : exit_findings;
}

}  // namespace cprewind::cli

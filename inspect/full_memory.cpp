#include "inspect/full_memory.h"

#include <elf.h>

#include <algorithm>
#include <cstring>

namespace cprewind::inspect {

namespace {

using images::Mapping;
using images::PageState;

constexpr size_t k_pages_kept = 256;
constexpr size_t k_files_open = 64;

const Mapping* find_mapping(const images::Process& process, uint64_t address) {
    auto after = std::upper_bound(process.mappings.begin(), process.mappings.end(), address,
                                  [](uint64_t a, const Mapping& mapping) { return a < mapping.start; });
    if (after == process.mappings.begin() || std::prev(after)->end <= address) return nullptr;
    return &*std::prev(after);
}

std::optional<uint64_t> auxiliary(const images::Process& process, uint64_t type) {
    for (size_t i = 0; i + 1 < process.auxv.size(); i += 2) {
        if (process.auxv[i] == type) return process.auxv[i + 1];
    }
    return std::nullopt;
}

// The program's dynamic section, by its program headers; 0 when there is none.
uint64_t find_dynamic(FullMemory& memory, const images::Process& process) {
    constexpr uint64_t k_headers_limit = 1000;
    auto headers = auxiliary(process, AT_PHDR);
    uint64_t count = std::min(auxiliary(process, AT_PHNUM).value_or(0), k_headers_limit);
    if (!headers || auxiliary(process, AT_PHENT) != sizeof(Elf64_Phdr)) return 0;
    uint64_t bias = 0, dynamic = 0;
    for (uint64_t i = 0; i < count; ++i) {
        Elf64_Phdr header{};
        if (!memory.read(*headers + i * sizeof(header), std::as_writable_bytes(std::span(&header, 1))))
            return 0;
        if (header.p_type == PT_PHDR) bias = *headers - header.p_vaddr;
        if (header.p_type == PT_DYNAMIC) dynamic = header.p_vaddr;
    }
    return dynamic == 0 ? 0 : dynamic + bias;
}

}  // namespace

bool FullMemory::from_file(uint64_t address, std::span<std::byte> out) {
    const Mapping* mapping = find_mapping(process_, address);
    if (mapping == nullptr) return false;
    // By the file, not by its name: a deleted file and the one in its place have the same.
    std::string key = mapping->path + '\0' + std::to_string(mapping->file_id.value_or(0));
    auto found = open_files_.find(key);
    if (found == open_files_.end()) {
        if (open_files_.size() >= k_files_open) open_files_.clear();
        found = open_files_.emplace(key, files_.open_mapped(mapping->path, mapping->file_id).file).first;
    }
    return found->second && found->second->read_at(mapping->offset + (address - mapping->start), out) > 0;
}

const FullMemory::Page* FullMemory::page(uint64_t address) {
    auto found = pages_.find(address);
    if (found == pages_.end()) {
        if (pages_.size() >= k_pages_kept) pages_.clear();
        Page page{};
        auto spans = memory_.read(address, page);
        bool known = true;
        for (const images::PageSpan& span : spans) {
            if (span.state == PageState::present || span.state == PageState::zero) continue;
            auto part = std::span(page).subspan(static_cast<size_t>(span.address - address),
                                                static_cast<size_t>(span.bytes));
            known = known && span.state == PageState::from_file && from_file(span.address, part);
        }
        found = pages_.emplace(address, known ? std::optional(page) : std::nullopt).first;
    }
    return found->second ? &*found->second : nullptr;
}

bool FullMemory::read(uint64_t address, std::span<std::byte> out) {
    while (!out.empty()) {
        uint64_t start = address / k_page * k_page;
        const Page* part = page(start);
        if (part == nullptr) return false;
        auto size = static_cast<size_t>(std::min<uint64_t>(out.size(), start + k_page - address));
        std::memcpy(out.data(), part->data() + (address - start), size);
        out = out.subspan(size);
        address += size;
    }
    return true;
}

std::optional<uint64_t> FullMemory::word(uint64_t address) {
    uint64_t value = 0;
    if (!read(address, std::as_writable_bytes(std::span(&value, 1)))) return std::nullopt;
    return value;
}

std::optional<std::string> FullMemory::text(uint64_t address, size_t limit) {
    std::string out;
    for (; out.size() < limit; ++address) {
        char letter = 0;
        if (!read(address, std::as_writable_bytes(std::span(&letter, 1)))) return std::nullopt;
        if (letter == '\0') return out;
        out += letter;
    }
    return std::nullopt;
}

std::vector<LoadedObject> list_loaded_objects(FullMemory& memory, const images::Process& process) {
    constexpr size_t k_limit = 4096, k_name_limit = 4096;
    constexpr uint64_t k_word = sizeof(uint64_t);
    std::vector<LoadedObject> out;
    uint64_t debug = 0;
    uint64_t entry = find_dynamic(memory, process);
    for (size_t i = 0; entry != 0 && i < k_limit; ++i, entry += 2 * k_word) {
        auto tag = memory.word(entry), value = memory.word(entry + k_word);
        if (!tag || !value || *tag == DT_NULL) break;
        if (*tag == DT_DEBUG) debug = *value;
    }
    if (debug == 0) return out;
    // struct r_debug { int version; struct link_map *map; … }; link_map { address, name, dynamic, next, … }
    auto map = memory.word(debug + k_word);
    while (map && *map != 0 && out.size() < k_limit) {
        auto name = memory.word(*map + k_word), dynamic = memory.word(*map + 2 * k_word);
        auto text = name ? memory.text(*name, k_name_limit) : std::nullopt;
        if (text && dynamic) out.push_back({*text, *dynamic});
        map = memory.word(*map + 3 * k_word);
    }
    return out;
}

}  // namespace cprewind::inspect

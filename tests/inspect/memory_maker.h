// Memory made by hand: processes, mappings and pages with planted content.
#pragma once

#include <lz4.h>
#include <sys/mman.h>

#include <algorithm>
#include <string>

#include "images/proto/memory.pb.h"
#include "inspect/moment.h"
#include "tests/images/image_builder.h"

namespace cprewind::inspect::test {

constexpr uint64_t k_page = 4096;
constexpr uint32_t k_parent = 1, k_present = 4;

// A page that begins with `head`, ends with `tail`, and has `fill` between.
inline std::string make_page(const std::string& head, const std::string& tail = "", char fill = '\x01') {
    return head + std::string(k_page - head.size() - tail.size(), fill) + tail;
}

struct MemoryMaker {
    images::test::MemorySource source;
    images::Checkpoint checkpoint;

    Moment moment() const { return {checkpoint, source}; }

    images::Process& process(uint32_t pid) {
        images::Process made;
        made.pid = {pid};
        made.state = images::ProcessState::alive;
        checkpoint.processes.push_back(made);
        source.files["pagemap-" + std::to_string(pid) + ".img"] =
            images::test::make_image("PAGEMAP", head_of(pid));
        source.files["pages-" + std::to_string(pid) + ".img"] = "";
        return checkpoint.processes.back();
    }
    static images::Mapping& map(images::Process& process, uint64_t start, uint64_t pages,
                                images::MappingKind kind, uint64_t shmid = 0,
                                int protection = PROT_READ | PROT_WRITE) {
        images::Mapping mapping;
        mapping.start = start;
        mapping.end = start + pages * k_page;
        mapping.kind = kind;
        mapping.shmid = shmid;
        mapping.protection = static_cast<uint32_t>(protection);
        mapping.flags = kind == images::MappingKind::anonymous_shared ? MAP_SHARED : MAP_PRIVATE;
        process.mappings.push_back(mapping);
        return process.mappings.back();
    }
    // Pages of a process from `address` on; calls go up.
    void pages(uint32_t pid, uint64_t address, const std::string& content,
               const std::string& directory = "") {
        add(directory + "pagemap-" + std::to_string(pid) + ".img", "PAGEMAP", pid, address, content,
            k_present, directory);
    }
    // So many pages that are in the parent checkpoint.
    void in_parent(uint32_t pid, uint64_t address, uint64_t count) {
        add("pagemap-" + std::to_string(pid) + ".img", "PAGEMAP", pid, address,
            std::string(count * k_page, 0), k_parent, "");
    }
    void shared_pages(uint64_t shmid, uint64_t offset, const std::string& content) {
        add("pagemap-shmem-" + std::to_string(shmid) + ".img", "SHMEM_PAGEMAP",
            1000 + static_cast<uint32_t>(shmid), offset, content, k_present, "");
    }
    // Pages that CRIU compressed, each a block.
    void lz4_pages(uint32_t pid, uint64_t address, const std::string& content) {
        criu::pagemap_entry entry = entry_of(address, content.size() / k_page, k_present);
        std::string& stored = source.files["pages-" + std::to_string(pid) + ".img"];
        auto* unknown = entry.mutable_unknown_fields();
        for (size_t at = 0; at < content.size(); at += k_page) {
            std::string block(2 * k_page, 0);
            int size = LZ4_compress_default(content.data() + at, block.data(), k_page,
                                            static_cast<int>(block.size()));
            unknown->AddVarint(6, static_cast<uint64_t>(size));
            stored.append(block, 0, static_cast<size_t>(size));
        }
        images::test::append_entry(source.files["pagemap-" + std::to_string(pid) + ".img"], entry);
    }

 private:
    static criu::pagemap_head head_of(uint32_t id) {
        criu::pagemap_head head;
        head.set_pages_id(id);
        return head;
    }
    static criu::pagemap_entry entry_of(uint64_t address, uint64_t pages, uint32_t flags) {
        criu::pagemap_entry entry;
        entry.set_vaddr(address);
        entry.set_compat_nr_pages(static_cast<uint32_t>(pages));
        entry.set_flags(flags);
        return entry;
    }
    void add(const std::string& map_name, const char* kind, uint32_t id, uint64_t address,
             const std::string& content, uint32_t flags, const std::string& directory) {
        std::string& image = source.files[map_name];
        if (image.empty()) image = images::test::make_image(kind, head_of(id));
        images::test::append_entry(image, entry_of(address, content.size() / k_page, flags));
        if (flags == k_present) source.files[directory + "pages-" + std::to_string(id) + ".img"] += content;
    }
};

}  // namespace cprewind::inspect::test

#include "inspect/elf_modules.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "base/fd.h"
#include "base/text.h"

namespace cprewind::inspect {

namespace {

using images::Mapping;
using images::MappingKind;

// Memory that is looked through for an object whose file is not at hand.
constexpr uint64_t k_memory_limit = 64u << 20;

// Which user data a module of libdwfl has: both are ours.
struct UserData {
    ElfModules* modules;
    ElfModule* module;
};

bool is_elf(std::span<const std::byte> head) {
    return head.size() >= SELFMAG && std::memcmp(head.data(), ELFMAG, SELFMAG) == 0;
}

// A copy of `file` that only we can change; -1, with the reason, when it is not fit.
int copy_to_memory(const images::ImageFile& file, std::string& why_not) {
    if (file.size() > k_elf_limit) {
        why_not = "it is larger than what is looked into for names (1 GiB)";
        return -1;
    }
    base::Fd memory(memfd_create("elf", MFD_CLOEXEC));
    if (!memory) {
        why_not = "no memory for a copy of it";
        return -1;
    }
    std::vector<std::byte> block(1u << 20);
    for (uint64_t done = 0;;) {
        size_t got = file.read_at(done, block);
        if (got == 0) break;
        if (done == 0 && !is_elf(std::span(block).first(got))) {
            why_not = "it is no ELF file";
            return -1;
        }
        base::pwrite_full(memory.get(), std::span(block).first(got), done, "a copy in memory");
        done += got;
    }
    return memory.release();
}

bool same_object(const ElfModule& module, const Mapping& mapping) {
    return module.file_id == mapping.file_id && module.path == mapping.path;
}

}  // namespace

std::vector<ElfModule> list_modules(const images::Process& process) {
    struct Candidate {
        ElfModule module;
        bool has_code = false;
        uint64_t last_offset = 0;
    };
    std::vector<Candidate> found;
    for (const Mapping& mapping : process.mappings) {
        bool is_code = (mapping.protection & PROT_EXEC) != 0;
        if (mapping.kind == MappingKind::vdso) {
            found.push_back({{mapping.start, mapping.end, "[vdso]", {}, true, {}, {}}, true, 0});
        } else if (mapping.is_file() || mapping.kind == MappingKind::memfd) {
            // The parts of one load lie in the order of the file; another one begins at a lower offset.
            Candidate* last = found.empty() ? nullptr : &found.back();
            if (last != nullptr && same_object(last->module, mapping) &&
                mapping.offset >= last->last_offset) {
                last->module.end = mapping.end;
                last->has_code |= is_code;
                last->last_offset = mapping.offset;
            } else {
                found.push_back({{mapping.start, mapping.end, mapping.path, mapping.file_id, false, {}, {}},
                                 is_code,
                                 mapping.offset});
            }
        }
    }
    std::vector<ElfModule> modules;
    for (Candidate& each : found) {
        if (each.has_code) modules.push_back(std::move(each.module));
    }
    return modules;
}

ElfModules::ElfModules(const images::Process& process, const ContainerFiles& files, FullMemory& memory)
    : process_(process), files_(files), memory_(memory), modules_(list_modules(process)) {
    static const Dwfl_Callbacks k_callbacks = {find_elf, find_debug_file, nullptr, nullptr};
    elf_version(EV_CURRENT);
    dwfl_ = dwfl_begin(&k_callbacks);
    if (dwfl_ == nullptr) throw base::Error(base::ErrorKind::failed, "libdw could not be set up");
    dwfl_report_begin(dwfl_);
    for (ElfModule& module : modules_) {
        Dwfl_Module* reported = dwfl_report_module(dwfl_, module.path.c_str(), module.start, module.end);
        void** data = nullptr;
        if (reported == nullptr || dwfl_module_info(reported, &data, nullptr, nullptr, nullptr, nullptr,
                                                    nullptr, nullptr) == nullptr)
            continue;
        *data = new UserData{this, &module};
    }
    dwfl_report_end(dwfl_, nullptr, nullptr);
}

ElfModules::~ElfModules() {
    auto forget = [](Dwfl_Module*, void** data, const char*, Dwarf_Addr, void*) {
        delete static_cast<UserData*>(*data);
        *data = nullptr;
        return static_cast<int>(DWARF_CB_OK);
    };
    dwfl_getmodules(dwfl_, forget, nullptr, 0);
    dwfl_end(dwfl_);
}

const ElfModule* ElfModules::find(uint64_t address) const {
    for (const ElfModule& module : modules_) {
        if (module.start <= address && address < module.end) return &module;
    }
    return nullptr;
}

// Callbacks of a C library: nothing may be thrown through them.
int ElfModules::find_elf(Dwfl_Module*, void** userdata, const char*, Dwarf_Addr, char**, Elf** elf) {
    auto* data = static_cast<UserData*>(*userdata);
    if (data == nullptr) return -1;
    try {
        return data->modules->open_module(*data->module, elf);
    } catch (const std::exception& error) {
        data->module->why_not = error.what();
        return -1;
    }
}

int ElfModules::find_debug_file(Dwfl_Module* module, void** userdata, const char*, Dwarf_Addr, const char*,
                                const char* link, GElf_Word crc, char** name) {
    auto* data = static_cast<UserData*>(*userdata);
    if (data == nullptr) return -1;
    try {
        std::string found;
        // libdwfl asks for the file that a debug file shares with others in the same way, but without a checksum.
        bool is_alternate = link != nullptr && crc == 0;
        int fd = data->modules->open_debug_file(module, *data->module, link != nullptr ? link : "",
                                                is_alternate, found);
        if (fd >= 0) *name = ::strdup(found.c_str());
        return fd;
    } catch (const std::exception&) {
        return -1;
    }
}

int ElfModules::open_module(ElfModule& module, Elf** elf) {
    if (!module.is_vdso) {
        auto found = files_.open_mapped(module.path, module.file_id);
        module.why_not = found.why_not;
        if (found.file) return copy_to_memory(*found.file, module.why_not);
    }
    std::vector<const Mapping*> mappings;
    for (const Mapping& mapping : process_.mappings) {
        if (mapping.start >= module.start && mapping.end <= module.end) mappings.push_back(&mapping);
    }
    if (!put_together(module, mappings)) return -1;
    *elf = elf_memory(module.bytes.data(), module.bytes.size());
    return -1;
}

bool ElfModules::put_together(ElfModule& module, const std::vector<const Mapping*>& mappings) {
    uint64_t size = 0;
    for (const Mapping* mapping : mappings) {
        // The vdso's mapping says nothing of offsets that would mean something here.
        uint64_t offset = module.is_vdso ? 0 : mapping->offset;
        if (offset > k_memory_limit || mapping->size() > k_memory_limit - offset) return false;
        size = std::max(size, offset + mapping->size());
    }
    std::string bytes(static_cast<size_t>(size), '\0');
    auto all = std::as_writable_bytes(std::span(bytes));
    constexpr uint64_t k_page = 4096;
    for (const Mapping* mapping : mappings) {
        uint64_t offset = module.is_vdso ? 0 : mapping->offset;
        for (uint64_t at = 0; at + k_page <= mapping->size(); at += k_page)
            memory_.read(mapping->start + at, all.subspan(static_cast<size_t>(offset + at), k_page));
    }
    if (!is_elf(all)) return false;
    module.bytes = std::move(bytes);
    return true;
}

int ElfModules::open_debug_file(Dwfl_Module* module, const ElfModule& of, const std::string& link,
                                bool is_alternate, std::string& name) {
    std::vector<std::string> names;
    const unsigned char* id = nullptr;
    GElf_Addr ignored = 0;
    int size = is_alternate ? 0 : dwfl_module_build_id(module, &id, &ignored);
    if (size > 1) {
        std::string hex = base::to_hex(std::as_bytes(std::span(id, static_cast<size_t>(size))));
        names.push_back(fmt::format("/usr/lib/debug/.build-id/{}/{}.debug", hex.substr(0, 2), hex.substr(2)));
        // Named by its content, so this host's is as good as the container's.
        base::Fd here(::open(names.back().c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
        if (here) {
            name = names.back();
            return here.release();
        }
    }
    size_t slash = of.path.rfind('/');
    std::string directory = slash == std::string::npos ? "/" : of.path.substr(0, slash + 1);
    if (link.starts_with('/')) names.push_back(link);
    if (!link.empty() && link.find('/') == std::string::npos) {
        names.push_back(directory + link);
        names.push_back(directory + ".debug/" + link);
        names.push_back("/usr/lib/debug" + directory + link);
    }
    for (const std::string& each : names) {
        auto found = files_.open(each);
        std::string ignored_reason;
        int fd = found.file ? copy_to_memory(*found.file, ignored_reason) : -1;
        if (fd < 0) continue;
        name = each;
        return fd;
    }
    return -1;
}

}  // namespace cprewind::inspect

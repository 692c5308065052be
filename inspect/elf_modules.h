// The ELF objects of a process for libdwfl, each opened when it is first asked for.
//
// A file's content is copied into memory of our own (memfd): libelf maps what it is given, and a file that somebody
// cuts meanwhile would kill us. Where the file is not at hand, the object is put together from memory, as far as its
// pages are in the dump: of the vdso that is all of it.
#pragma once

#include <elfutils/libdwfl.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "inspect/full_memory.h"

namespace cprewind::inspect {

// Nothing larger is handed to libelf, be it a library or its debug file.
inline constexpr uint64_t k_elf_limit = uint64_t{1} << 30;

struct ElfModule {
    uint64_t start = 0;
    uint64_t end = 0;
    std::string path;  // "[vdso]" for that
    std::optional<uint32_t> file_id;
    bool is_vdso = false;
    std::string why_not;  // after it was asked for: why its content is not at hand
    std::string bytes;    // of one that was put together from memory
};

// In the order of their addresses.
std::vector<ElfModule> list_modules(const images::Process& process);

class ElfModules {
 public:
    // All must outlive it.
    ElfModules(const images::Process& process, const ContainerFiles& files, FullMemory& memory);
    ~ElfModules();
    ElfModules(const ElfModules&) = delete;
    ElfModules& operator=(const ElfModules&) = delete;

    Dwfl* dwfl() const { return dwfl_; }
    const ElfModule* find(uint64_t address) const;

 private:
    static int find_elf(Dwfl_Module*, void** userdata, const char*, Dwarf_Addr, char** name, Elf** elf);
    static int find_debug_file(Dwfl_Module*, void** userdata, const char*, Dwarf_Addr, const char* file,
                               const char* link, GElf_Word crc, char** name);
    int open_module(ElfModule& module, Elf** elf);
    int open_debug_file(Dwfl_Module* module, const ElfModule& of, const std::string& link, bool is_alternate,
                        std::string& name);
    bool put_together(ElfModule& module, const std::vector<const images::Mapping*>& mappings);

    const images::Process& process_;
    const ContainerFiles& files_;
    FullMemory& memory_;
    std::vector<ElfModule> modules_;
    Dwfl* dwfl_ = nullptr;
};

}  // namespace cprewind::inspect

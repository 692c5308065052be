#include "inspect/symbolise.h"

#include <cxxabi.h>
#include <dwarf.h>
#include <elfutils/libdw.h>

#include <algorithm>
#include <cstdlib>

namespace cprewind::inspect {

namespace {

constexpr size_t k_name_limit = 4096;

// What libdw allocates for the caller, freed.
struct Free {
    void operator()(void* memory) const { std::free(memory); }
};
template <typename T>
using Allocated = std::unique_ptr<T[], Free>;

std::string demangle(const char* name) {
    if (name == nullptr) return {};
    std::string_view raw(name);
    if (raw.size() > k_name_limit || !raw.starts_with("_Z")) return std::string(raw.substr(0, k_name_limit));
    int status = 0;
    Allocated<char> text(abi::__cxa_demangle(name, nullptr, nullptr, &status));
    return status == 0 && text ? std::string(text.get()) : std::string(raw);
}

std::string name_of_die(Dwarf_Die* die) {
    Dwarf_Attribute attribute;
    for (unsigned name : {DW_AT_linkage_name, DW_AT_MIPS_linkage_name}) {
        if (dwarf_attr_integrate(die, name, &attribute) != nullptr)
            return demangle(dwarf_formstring(&attribute));
    }
    return demangle(dwarf_diename(die));
}

// Where the inlined function `die` was called.
void call_site(Dwarf_Die* unit, Dwarf_Die* die, StackFrame& frame) {
    Dwarf_Attribute attribute;
    Dwarf_Word file = 0, line = 0;
    frame.source.clear();
    frame.line = 0;
    if (dwarf_attr(die, DW_AT_call_line, &attribute) == nullptr || dwarf_formudata(&attribute, &line) != 0)
        return;
    frame.line = static_cast<uint32_t>(line);
    Dwarf_Files* files = nullptr;
    size_t count = 0;
    if (dwarf_attr(die, DW_AT_call_file, &attribute) == nullptr || dwarf_formudata(&attribute, &file) != 0 ||
        dwarf_getsrcfiles(unit, &files, &count) != 0 || file >= count)
        return;
    const char* name = dwarf_filesrc(files, static_cast<size_t>(file), nullptr, nullptr);
    if (name != nullptr) frame.source = name;
}

// Splits `frame` where functions were inlined; the last one keeps the name that the symbol table has for it.
void expand_inlined(Dwfl_Module* module, uint64_t place, StackFrame frame, std::vector<StackFrame>& out) {
    constexpr int k_depth_limit = 256;
    Dwarf_Addr bias = 0;
    Dwarf_Die* unit = dwfl_module_addrdie(module, place, &bias);
    Dwarf_Die* raw = nullptr;
    int count = unit == nullptr ? 0 : dwarf_getscopes(unit, place - bias, &raw);
    Allocated<Dwarf_Die> innermost(raw);
    Dwarf_Die* raw_chain = nullptr;
    int depth = count > 0 ? dwarf_getscopes_die(&innermost[0], &raw_chain) : 0;
    Allocated<Dwarf_Die> chain(raw_chain);
    for (int i = 0; i < std::min(depth, k_depth_limit); ++i) {
        Dwarf_Die* die = &chain[static_cast<size_t>(i)];
        int tag = dwarf_tag(die);
        if (tag == DW_TAG_subprogram) {
            if (frame.function.empty()) frame.function = name_of_die(die);
            break;
        }
        if (tag != DW_TAG_inlined_subroutine) continue;
        StackFrame inlined = frame;
        inlined.is_inlined = true;
        inlined.function = name_of_die(die);
        inlined.offset = 0;
        out.push_back(std::move(inlined));
        call_site(unit, die, frame);
    }
    out.push_back(std::move(frame));
}

void set_object(const ElfModule* module, const images::Process& process, StackFrame& frame) {
    frame.object_address = frame.address;
    if (module != nullptr) {
        frame.object = module->path;
        return;
    }
    for (const images::Mapping& mapping : process.mappings) {
        if (mapping.start <= frame.address && frame.address < mapping.end)
            frame.object = mapping.path.empty() ? images::name_of(mapping.kind) : mapping.path;
    }
}

}  // namespace

std::vector<StackFrame> symbolise(const ElfModules& modules, const images::Process& process,
                                  const StackFrame& frame, bool is_call) {
    std::vector<StackFrame> out;
    StackFrame named = frame;
    uint64_t place = is_call && frame.address > 0 ? frame.address - 1 : frame.address;
    set_object(modules.find(place), process, named);
    Dwfl_Module* module = dwfl_addrmodule(modules.dwfl(), place);
    GElf_Addr bias = 0;
    if (module == nullptr || dwfl_module_getelf(module, &bias) == nullptr) {
        out.push_back(std::move(named));
        return out;
    }
    named.object_address = frame.address - bias;
    GElf_Off offset = 0;
    GElf_Sym symbol;
    const char* name = dwfl_module_addrinfo(module, place, &offset, &symbol, nullptr, nullptr, nullptr);
    if (name != nullptr) {
        named.function = demangle(name);
        named.offset = offset + (frame.address - place);
    }
    Dwfl_Line* line = dwfl_module_getsrc(module, place);
    int number = 0;
    const char* source =
        line == nullptr ? nullptr : dwfl_lineinfo(line, nullptr, &number, nullptr, nullptr, nullptr);
    if (source != nullptr) {
        named.source = source;
        named.line = static_cast<uint32_t>(std::max(number, 0));
    }
    expand_inlined(module, place, std::move(named), out);
    return out;
}

}  // namespace cprewind::inspect

// The memory of a process with the contents of mapped files beneath it, for those who read it word by word: an
// unwinder, a list of libraries. A few pages are kept.
#pragma once

#include <array>
#include <list>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "images/pages.h"
#include "inspect/container_files.h"

namespace cprewind::inspect {

class FullMemory {
 public:
    // All must outlive it.
    FullMemory(const images::AddressSpace& memory, const images::Process& process,
               const ContainerFiles& files)
        : memory_(memory), process_(process), files_(files) {}

    // All of it, or nothing.
    bool read(uint64_t address, std::span<std::byte> out);
    std::optional<uint64_t> word(uint64_t address);
    // Up to the NUL, at most `limit` bytes.
    std::optional<std::string> text(uint64_t address, size_t limit);

 private:
    static constexpr uint64_t k_page = 4096;
    using Page = std::array<std::byte, k_page>;
    const Page* page(uint64_t address);
    bool from_file(uint64_t address, std::span<std::byte> out);

    const images::AddressSpace& memory_;
    const images::Process& process_;
    const ContainerFiles& files_;
    std::map<uint64_t, std::optional<Page>> pages_;
    std::map<std::string, std::unique_ptr<images::ImageFile>> open_files_;
};

// A library as the dynamic loader knew it.
struct LoadedObject {
    std::string name;      // under which it was loaded: a path, perhaps through links
    uint64_t dynamic = 0;  // address of its dynamic section
};

// Of the loader's own list (struct r_debug of <link.h>): empty for static programs and where it cannot be read.
std::vector<LoadedObject> list_loaded_objects(FullMemory& memory, const images::Process& process);

}  // namespace cprewind::inspect

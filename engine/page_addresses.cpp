#include "engine/page_addresses.h"

#include <fmt/format.h>

#include <set>

#include "images/pages.h"

namespace cprewind::engine {
namespace {

store::PageAddresses runs_of(const images::PageMap& map, const std::string& space) {
    store::PageAddresses addresses;
    for (const images::PageRun& run : map.runs()) {
        if (run.state != images::PageState::present || run.layer != 0) continue;
        addresses.runs.push_back({space, run.address, run.file_offset, run.bytes});
    }
    return addresses;
}

}  // namespace

std::map<std::string, store::PageAddresses> page_addresses(const images::ImageSource& images,
                                                           const images::Checkpoint& checkpoint) {
    std::map<std::string, store::PageAddresses> answer;
    std::set<uint64_t> objects;
    images::Findings ignored;  // load_checkpoint and the views tell what is odd
    for (const images::Process& process : checkpoint.processes) {
        if (process.state == images::ProcessState::zombie) continue;
        auto own = images::PageMap::open_process(images, process.pid, ignored);
        answer[own.pages_name()] = runs_of(own, fmt::format("process {}", process.pid.value));
        for (const images::Mapping& mapping : process.mappings) {
            if (!mapping.has_object() || !objects.insert(mapping.shmid).second) continue;
            auto object = images::PageMap::open_shared(images, mapping.shmid, ignored);
            answer[object.pages_name()] = runs_of(
                object, fmt::format("shared by process {} at {:x}", process.pid.value, mapping.start));
        }
    }
    answer.erase("");
    return answer;
}

}  // namespace cprewind::engine

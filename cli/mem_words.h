// What the verbs of `cprewind mem` share: which memory is meant, and how they say what they could not read.
#pragma once

#include <string>
#include <vector>

#include "cli/command.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "cli/subject.h"
#include "inspect/memory_scan.h"
#include "inspect/memory_search.h"

namespace cprewind::cli {

struct MemRequest {
    Context& context;
    const Subject& subject;
    const Parsed& parsed;
    std::vector<std::string> words;  // behind the verb
    inspect::MemoryFilter filter;
    images::Findings findings;
};

int mem_search(MemRequest& request);
int mem_strings(MemRequest& request);
int mem_dump(MemRequest& request);
int mem_hexdump(MemRequest& request);

// --pid, --kind, --protection, --range and --vma. Errors: usage, not_found.
inspect::MemoryFilter parse_memory_filter(const Parsed& parsed, const Subject& subject);
// "0x7f0010a0", or digits alone: hexadecimal. "4096", "0x1000", "64K", "1M": a length.
uint64_t parse_memory_address(const std::string& text);
uint64_t parse_memory_length(const std::string& text);
// The one process that is meant: of --pid, or the only one.
const images::Process& only_process(const MemRequest& request);

inspect::ScanOptions scan_options(const MemRequest& request, Progress& progress);

// The path that is mapped, or "[heap]"; not escaped.
std::string mapping_label(const images::Mapping* mapping);
std::string mapping_protection(const images::Mapping* mapping);  // "rw-p", "----" when there is none
// " +7@0x7f0010000000" for each other place, or nothing.
std::string also_text(const std::vector<inspect::MemoryPlace>& also);

void put_place(Json& item, const images::Process& process, const images::Mapping* mapping, uint64_t address);
Json also_json(const std::vector<inspect::MemoryPlace>& also);
Json summary_json(const inspect::ScanSummary& summary);
Json unread_json(const std::vector<inspect::UnreadMemory>& unread);
// On standard error, where it cannot be taken for a result.
void complain_of_unread(const std::vector<inspect::UnreadMemory>& unread);

// A JSON document that has a long list in it, written as it comes: memory stays bounded.
class JsonListWriter {
 public:
    // `before` are the fields before the list; its items follow with add(), the fields behind it with end().
    JsonListWriter(Output& output, const Json& before, const std::string& list);
    void add(const Json& item);
    void end(const Json& after);

 private:
    Output& output_;
    bool first_ = true;
};

}  // namespace cprewind::cli

// `cprewind core`: a process of a snapshot as an ELF core.
#include <fmt/format.h>
#include <unistd.h>

#include "base/error.h"
#include "base/text.h"
#include "cli/container_sources.h"
#include "cli/core_writer.h"
#include "cli/json_text.h"
#include "cli/new_file.h"
#include "cli/options.h"
#include "cli/post_mortem.h"
#include "cli/progress.h"
#include "cli/view_tools.h"
#include "inspect/core_file.h"

namespace cprewind::cli {

using base::Error;
using base::ErrorKind;

const char* const k_core_help = R"(Examples:
  cprewind core web@3 --pid 1 -o web.core           then: gdb /path/to/program web.core
  cprewind core ./checkpoint --pid 7 -o 7.core --sysroot /mnt/image
  cprewind core web.tar.zst --pid 1 -o web.core --json

Usage: cprewind core SNAPSHOT --pid PID -o FILE [--sysroot DIR]

Writes an ELF core of one process, as gdb, lldb and eu-stack open it: registers of all threads with their vectors (x86_64,
aarch64), the auxiliary vector, the list of mapped files, and memory: private, shared, and, where they are at hand, the
contents of mapped files. `cprewind gdb` does it all in one step.

  --pid PID          the process (its number inside the container); may be left out when there is only one
  -o, --output FILE  must not exist; only its owner may read it. It is sparse: zeros take no space.
  --sysroot DIR      the container's root file system, for files that neither the snapshot nor the layers of the container
                     image on this host have

Registers are as a debugger attached at that moment would show them: a thread in a system call stands behind it.
Mappings of which not all is in the core are listed.

Exit status: 0 done, 1 failed, 2 usage, 3 done, with findings (of the images).)";

const images::Process& choose_process(const Subject& subject, std::optional<uint32_t> pid) {
    std::vector<std::string> pids;
    const images::Process* only = nullptr;
    for (const images::Process& process : subject.checkpoint.processes) {
        if (pid && process.pid.value == *pid) return process;
        if (process.state == images::ProcessState::zombie) continue;
        only = pids.empty() ? &process : nullptr;
        pids.push_back(std::to_string(process.pid.value));
    }
    if (!pid && only != nullptr) return *only;
    std::string hint = "its processes are: " + some_of(pids, 20, ", ");
    if (!pid) throw Error(ErrorKind::usage, "--pid PID is missing", hint);
    throw Error(ErrorKind::not_found, fmt::format("{} has no process {}", subject.name, *pid), hint);
}

namespace {

Json gaps_json(const inspect::CoreFile& core) {
    Json list = Json::array();
    for (const inspect::CoreGap& gap : core.gaps()) {
        Json item;
        item["start"] = hex_number(gap.start);
        put_bytes(item, "path", gap.path);
        item["bytes"] = gap.bytes;
        item["why"] = gap.why;
        list.push_back(std::move(item));
    }
    return list;
}

void print_gaps(Output& output, const inspect::CoreFile& core) {
    Table table({"not all in the core", "bytes", "why", "mapping"});
    table.right({1});
    for (const inspect::CoreGap& gap : core.gaps()) {
        if (gap.why == inspect::k_kernel_gap) continue;
        table.add({hex_number(gap.start), base::human_bytes(gap.bytes), gap.why, base::escape(gap.path)});
    }
    if (!table.empty()) output.table(table);
}

}  // namespace

int run_core(Context& context, const std::vector<std::string>& arguments) {
    po::options_description options;
    options.add_options()("pid", po::value<uint32_t>())("output,o", po::value<std::string>())(
        "sysroot", po::value<std::string>());
    Parsed parsed = parse_words(arguments, options, 1, 1, "SNAPSHOT");
    std::string output = parsed.text("output");
    if (output.empty()) throw Error(ErrorKind::usage, "-o FILE is missing", "name the core to write");
    std::optional<uint32_t> pid;
    if (parsed.has("pid")) pid = parsed.values["pid"].as<uint32_t>();
    Subject subject = open_subject(context, parsed.words[0]);
    images::Findings findings = subject.checkpoint.findings;
    const images::Process& process = choose_process(subject, pid);
    ContainerSources sources(subject, parsed.text("sysroot"), findings);
    inspect::CoreFile core(subject.moment(), process, sources.files(), findings);

    NewFile file(output);
    Progress progress(!context.json);
    write_core(subject, core, file.fd(), output, progress);
    uint64_t size = file.finish(NewFile::Sync::no);
    progress.clear();
    if (context.json) {
        Json document;
        document["subject"] = subject.name;
        document["pid"] = process.pid.value;
        put_bytes(document, "file", output);
        document["file_size_bytes"] = size;
        document["memory_bytes"] = core.memory_bytes();
        document["threads"] = core.threads();
        document["segments"] = core.segments().size();
        document["gaps"] = gaps_json(core);
        document["lost_bytes"] = core.lost_bytes();
        document["findings"] = findings_json(findings);
        context.output.json(document);
    } else {
        context.output.line(fmt::format("process {} ({}, {}) is in {} ({})", process.pid.value,
                                        base::escape(process.comm), base::counted(core.threads(), "thread"),
                                        base::escape(output), base::human_bytes(size)));
        print_gaps(context.output, core);
        print_findings(context.output, findings);
    }
    return findings.empty() ? exit_done : exit_findings;
}

}  // namespace cprewind::cli

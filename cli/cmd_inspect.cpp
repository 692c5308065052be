// `cprewind inspect`: what was in a snapshot or a checkpoint directory.
#include <fmt/format.h>

#include "base/error.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/coverage_view.h"
#include "cli/json_text.h"
#include "cli/options.h"
#include "cli/stacks_view.h"
#include "cli/subject.h"
#include "cli/views.h"
#include "inspect/artifacts.h"
#include "inspect/overview.h"

namespace cprewind::cli {

const char* const k_inspect_help = R"(Examples:
  cprewind inspect web@3                  everything on one screen
  cprewind inspect web@latest ps          processes with their command lines, from memory
  cprewind inspect web@3 fds --pid 1      open files of process 1
  cprewind inspect web@3 sockets          listeners, connections, what waits in their queues
  cprewind inspect web@3 threads --stacks what each thread was doing, function by function
  cprewind inspect web@3 mem              mappings
  cprewind inspect web@3 files            the writable layer
  cprewind inspect ./checkpoint ps        a directory of CRIU images: no Docker, no root needed
  cprewind inspect ./web.tar.zst ps       an archive of podman, CRI-O or containerd

Usage: cprewind inspect SNAPSHOT [VIEW] [options]

  overview     all of it on one screen (the default)
  ps           processes: tree, state, user, memory, command line
  threads      what each thread waits in, scheduling; with --pid its registers
  fds          open files, with who has the other end
  sockets      TCP, UDP, unix, netlink, packet: state, queues, who has them
  mem          mappings, and where their pages are
  env          environment variables
  limits       resource limits
  creds        users, capabilities, seccomp filters, security labels
  signals      handlers, masks, pending signals
  timers       itimers, POSIX timers, timerfds
  mounts, namespaces, cgroups, locks, ipc, net
  stats        CRIU's own timings and counts
  files        the writable layer

  --pid PID     only this process (its number inside the container)
  --stacks      threads: their stacks, with functions, source lines and inlined calls as far as the container's binaries
                tell; equal ones together; where one ends early, why
  --sysroot DIR with --stacks: the container's root file system, for binaries that neither the snapshot nor the layers
                of the container image on this host have
  --findings    only what is odd, damaged or unknown in any of the images
  --coverage    where every byte of every image went: understood (views show it), decoded (only `decode` does),
                unread (other programs' formats), unknown fields and files of a newer CRIU, and what makes no sense

Process numbers are those inside the container. Nothing is ever written to what is inspected.

Exit status: 0 done, 1 failed, 2 usage, 3 done, with findings (they are listed last).)";

namespace {

const View& find_view(const std::string& name) {
    std::vector<std::string> names;
    for (const View& view : views()) {
        if (name == view.name) return view;
        names.emplace_back(view.name);
    }
    std::string hint = base::did_you_mean(name, names);
    throw base::Error(base::ErrorKind::usage, fmt::format("there is no view '{}'", base::escape(name)),
                      hint.empty() ? "the views are: " + base::join(names, ", ") : hint);
}

std::optional<uint32_t> wanted_pid(const Parsed& parsed, const Subject& subject) {
    if (!parsed.has("pid")) return std::nullopt;
    uint32_t pid = parsed.values["pid"].as<uint32_t>();
    if (subject.checkpoint.find_process(images::DumpPid{pid}) != nullptr) return pid;
    std::vector<std::string> pids;
    for (const images::Process& process : subject.checkpoint.processes) {
        if (pids.size() < 20) pids.push_back(std::to_string(process.pid.value));
    }
    throw base::Error(base::ErrorKind::not_found, fmt::format("{} has no process {}", subject.name, pid),
                      "its processes are: " + base::join(pids, ", "));
}

}  // namespace

int run_inspect(Context& context, const std::vector<std::string>& arguments) {
    po::options_description options;
    options.add_options()("pid", po::value<uint32_t>())("findings", "")("coverage", "")("stacks", "")(
        "sysroot", po::value<std::string>());
    Parsed parsed = parse_words(arguments, options, 1, 2, "SNAPSHOT");
    const View& view = find_view(parsed.words.size() > 1 ? parsed.words[1] : "overview");
    if ((parsed.has("stacks") && view.show != show_threads) ||
        (parsed.has("sysroot") && !parsed.has("stacks"))) {
        throw base::Error(
            base::ErrorKind::usage,
            parsed.has("stacks") ? "--stacks is for the view 'threads'" : "--sysroot is for --stacks",
            "cprewind inspect SNAPSHOT threads --stacks");
    }
    Subject subject = open_subject(context, parsed.words[0]);
    if (view.show == show_files && context.json) add_file_digests(subject);

    Json document;
    document["subject"] = subject.name;
    images::Findings findings = subject.checkpoint.findings;
    if (parsed.has("coverage")) {
        show_coverage(context, subject, document);
    } else if (parsed.has("stacks")) {
        ViewRequest request{subject, wanted_pid(parsed, subject)};
        show_stacks(context, request, parsed.text("sysroot"), document, findings);
    } else if (parsed.has("findings")) {
        findings = inspect::make_overview(subject.moment()).findings;
        images::add_new_findings(findings, inspect::list_artifacts(subject.moment()).findings);
    } else {
        view.show(context, {subject, wanted_pid(parsed, subject)}, document, findings);
    }
    if (context.json) {
        document["findings"] = findings_json(findings);
        context.output.json(document);
    } else {
        if (!findings.empty() && !parsed.has("findings")) context.output.line();
        print_findings(context.output, findings);
        if (findings.empty() && parsed.has("findings")) context.output.line("no findings");
    }
    return findings.empty() ? exit_done : exit_findings;
}

}  // namespace cprewind::cli

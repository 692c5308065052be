// `cprewind report`: the overview and what looks odd, on the terminal or as one page to pass on.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/html_page.h"
#include "cli/json_text.h"
#include "cli/options.h"
#include "cli/report_page.h"
#include "cli/subject.h"
#include "cli/sysroot.h"
#include "cli/view_tools.h"
#include "engine/snapshot_files.h"
#include "inspect/report.h"

namespace cprewind::cli {

const char* const k_report_help = R"(Examples:
  cprewind report web@3                        the overview, and what looks odd
  cprewind report web@3 --html web.html        the same as a page: processes, memory to scale, sockets, findings
  cprewind report ./checkpoint --sysroot /mnt  code is compared with the files below /mnt

Usage: cprewind report SNAPSHOT [options]

What is told, each with its evidence: memory that is writable and executable, code that differs from the file it was mapped
from, code from deleted files, memfds and tmpfs, LD_PRELOAD, listeners that the container does not EXPOSE, capabilities
beyond Docker's default, programs that are not the container image's, set-uid files in the writable layer, packet sockets.
Odd is not wrong: a just-in-time compiler has writable code, too. What could not be checked is told as well.

  --html FILE     write a page of its own (new, mode 0600): it needs no network and works from file://
  --sysroot DIR   the container's root file system, to compare code with

Exit status: 0 done, 1 failed, 2 usage, 3 done, with findings (of the images; odd things alone are 0).)";

namespace {

// Ports that the container's configuration exposes: those of the container image and those that were published.
std::optional<std::set<std::string>> exposed_ports(const Subject& subject) {
    auto text = images::read_whole(*subject.files, engine::k_container_file, 16u << 20);
    if (!text) return std::nullopt;
    auto document = nlohmann::json::parse(*text, nullptr, false);
    if (document.is_array() && !document.empty()) document = document[0];
    const nlohmann::json::json_pointer config("/Config"), place("/Config/ExposedPorts");
    if (!document.is_object() || !document.contains(config)) return std::nullopt;
    std::set<std::string> ports;
    if (document.contains(place) && document[place].is_object()) {
        for (const auto& [port, ignored] : document[place].items()) ports.insert(port);
    }
    return ports;
}

Json oddities_json(const Subject& subject, const inspect::Report& report) {
    Json list = Json::array();
    for (const inspect::Oddity& oddity : report.oddities) {
        const images::Process* process = oddity.pid ? subject.checkpoint.find_process(*oddity.pid) : nullptr;
        Json item;
        item["kind"] = inspect::name_of(oddity.kind);
        item["pid"] = oddity.pid ? Json(oddity.pid->value) : Json();
        put_bytes(item, "comm", process != nullptr ? process->comm : std::string());
        put_bytes(item, "what", oddity.what);
        put_bytes(item, "evidence", oddity.evidence);
        list.push_back(std::move(item));
    }
    return list;
}

void print_oddities(Output& output, const Subject& subject, const inspect::Report& report) {
    output.line();
    if (report.oddities.empty()) output.line("nothing looks odd");
    Table table({"looks odd", "pid", "what", "evidence"});
    table.right({1});
    for (const inspect::Oddity& oddity : report.oddities) {
        const images::Process* process = oddity.pid ? subject.checkpoint.find_process(*oddity.pid) : nullptr;
        std::string who =
            process != nullptr ? fmt::format("{} {}", process->pid.value, base::escape(process->comm)) : "";
        table.add(
            {inspect::name_of(oddity.kind), who, base::escape(oddity.what), base::escape(oddity.evidence)});
    }
    if (!table.empty()) output.table(table);
    for (const std::string& sentence : report.unchecked)
        output.line(output.paint(Colour::dim, "not checked: " + sentence));
}

}  // namespace

int run_report(Context& context, const std::vector<std::string>& arguments) {
    po::options_description options;
    options.add_options()("html", po::value<std::string>())("sysroot", po::value<std::string>());
    Parsed parsed = parse_words(arguments, options, 1, 1, "SNAPSHOT");
    Subject subject = open_subject(context, parsed.words[0]);
    std::optional<Sysroot> sysroot;
    if (parsed.has("sysroot")) sysroot.emplace(parsed.text("sysroot"));

    inspect::ReportInput input;
    auto data = subject.files->open(engine::k_layer_data);
    if (subject.layer) input.layer = &*subject.layer;
    input.layer_data = data.get();
    input.exposed = exposed_ports(subject);
    if (sysroot) {
        input.read_file = [&](const std::string& path, uint64_t offset, uint64_t size) {
            return sysroot->read(path, offset, size);
        };
    }
    inspect::Report report = inspect::make_report(subject.moment(), input);

    Json document;
    document["subject"] = subject.name;
    images::Findings findings = subject.checkpoint.findings;
    bool page = parsed.has("html");
    Context quiet{context.repository, context.json || page, context.verbose, context.output};
    show_overview(quiet, {subject, {}}, document, findings);
    append(findings, report.findings);
    if (context.json || page) {
        document["oddities"] = oddities_json(subject, report);
        document["unchecked"] = report.unchecked;
        document["findings"] = findings_json(findings);
    }
    if (page) write_new_page(parsed.text("html"), report_page(subject, document));
    if (context.json) {
        document["html"] = page ? Json(base::escape(parsed.text("html"))) : Json();
        context.output.json(document);
    } else if (page) {
        context.output.line(fmt::format("wrote {}: {} look odd", base::escape(parsed.text("html")),
                                        base::counted(report.oddities.size(), "thing")));
    } else {
        print_oddities(context.output, subject, report);
        if (!findings.empty()) context.output.line();
        print_findings(context.output, findings);
    }
    return findings.empty() ? exit_done : exit_findings;
}

}  // namespace cprewind::cli

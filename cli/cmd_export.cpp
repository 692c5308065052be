// `cprewind export`: a snapshot as one file, for another host.
#include <fmt/format.h>
#include <unistd.h>

#include <chrono>

#include "base/error.h"
#include "base/text.h"
#include "cli/keeping.h"
#include "cli/new_file.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "cli/record_view.h"
#include "cli/subject.h"
#include "engine/transfer.h"

namespace cprewind::cli {

const char* const k_export_help = R"(Examples:
  cprewind export web@3 -o web3.tar.zst
  cprewind export web@3 -o - | ssh other cprewind import -

Usage: cprewind export SNAPSHOT -o FILE

  -o, --output FILE  must not exist; - is standard output. Only the owner may read it: it holds the container's memory.

The file is complete in itself, with a SHA-256 of every file in it; `cprewind import` checks them all. It is a tar archive in
zstd, which `tar --zstd -xf FILE && sha256sum -c digests.sha256` opens and checks without cprewind, and which
`cprewind inspect ./FILE` reads in place.

Exit status: 0 done, 1 failed, 2 usage.)";

namespace {

using base::Error;
using base::ErrorKind;

}  // namespace

int run_export(Context& context, const std::vector<std::string>& arguments) {
    po::options_description options;
    options.add_options()("output,o", po::value<std::string>());
    Parsed parsed = parse_words(arguments, options, 1, 1, "SNAPSHOT");
    std::string output = parsed.text("output");
    if (output.empty()) throw Error(ErrorKind::usage, "-o FILE is missing", "-o - writes to standard output");
    bool to_stdout = output == "-";
    if (to_stdout && (context.json || ::isatty(STDOUT_FILENO) == 1)) {
        throw Error(ErrorKind::usage,
                    context.json ? "--json and the snapshot cannot both go to standard output"
                                 : "a snapshot is nothing for a terminal",
                    "name a file with -o");
    }
    auto repository = open_for_reading(context);
    auto record = repository->resolve(parsed.words.front(), std::chrono::system_clock::now());
    Progress progress(!context.json);
    auto report = [&](uint64_t done, uint64_t total) { progress.show("exporting", done, total); };
    if (to_stdout) {
        engine::export_snapshot(*repository, record, STDOUT_FILENO, "standard output", report);
        return exit_done;
    }
    NewFile file(output);
    engine::export_snapshot(*repository, record, file.fd(), output, report);
    uint64_t size = file.finish(NewFile::Sync::yes);
    progress.clear();
    if (context.json) {
        context.output.json({{"snapshot", record_json(record)}, {"file", output}, {"file_size_bytes", size}});
    } else {
        context.output.line(fmt::format("{} is in {} ({}, {} unpacked)", record.name(), base::escape(output),
                                        base::human_bytes(size), base::human_bytes(record.raw_bytes)));
    }
    return exit_done;
}

}  // namespace cprewind::cli

// `cprewind import`: a snapshot from another repository, or a checkpoint that something else made.
#include "cli/command.h"
#include "cli/import_checkpoint.h"
#include "cli/import_export.h"
#include "cli/options.h"

namespace cprewind::cli {

const char* const k_import_help = R"(Examples:
  cprewind import web3.tar.zst                what `cprewind export` wrote
  ssh other cprewind export web@3 -o - | cprewind import -
  cprewind import ./podman.tar.zst            an archive of podman, CRI-O or containerd
  cprewind import ./checkpoint --name web     a directory of CRIU images

Usage: cprewind import PATH [--name CONTAINER]

Takes what `cprewind export` wrote (- is standard input), and whatever `cprewind inspect` reads. Of an export every byte
is checked against its digest before anything is stored; of anything else every stored byte is read back. The snapshot
gets the next number of its container here; the container, its image and the time are those that the file tells, and
--name overrides the first. An export that is here already is not stored again; a tag that another snapshot has here is
left out. What other tools made is inspected, compared and searched like any other; a rewind needs Docker's own container.

Exit status: 0 done, 1 failed, 2 usage, 3 done, with findings.)";

int run_import(Context& context, const std::vector<std::string>& arguments) {
    po::options_description options;
    options.add_options()("name", po::value<std::string>());
    Parsed parsed = parse_words(arguments, options, 1, 1, "PATH");
    const std::string& path = parsed.words.front();
    if (auto files = open_export(context, path)) return import_export(context, *files, parsed.text("name"));
    return import_checkpoint(context, path, parsed.text("name"));
}

}  // namespace cprewind::cli

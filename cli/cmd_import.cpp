// `cprewind import`: a checkpoint that something else made, as a snapshot.
#include "cli/command.h"
#include "cli/import_checkpoint.h"
#include "cli/options.h"

namespace cprewind::cli {

const char* const k_import_help = R"(Examples:
  cprewind import ./web.tar.zst               an archive of podman, CRI-O or containerd
  cprewind import ./checkpoint --name web     a directory of CRIU images

Usage: cprewind import PATH [--name CONTAINER]

Takes whatever `cprewind inspect` reads. The name of the container, its image and the time are those that the archive
tells; --name overrides the first. Every stored byte is read back. An imported snapshot is inspected, compared and searched
like any other; a rewind needs Docker's own container.

Exit status: 0 done, 1 failed, 2 usage, 3 done, with findings.)";

int run_import(Context& context, const std::vector<std::string>& arguments) {
    po::options_description options;
    options.add_options()("name", po::value<std::string>());
    Parsed parsed = parse_words(arguments, options, 1, 1, "PATH");
    return import_checkpoint(context, parsed.words.front(), parsed.text("name"));
}

}  // namespace cprewind::cli

// `cprewind import`: a snapshot from another repository.
#include "base/error.h"
#include "base/text.h"
#include "cli/keeping.h"
#include "cli/import_export.h"
#include "cli/options.h"

namespace cprewind::cli {

const char* const k_import_help = R"(Examples:
  cprewind import web3.tar.zst
  ssh other cprewind export web@3 -o - | cprewind import -
  cprewind import web3.tar.zst --name web-of-other

Usage: cprewind import FILE [--name CONTAINER]

Takes what `cprewind export` wrote; - is standard input. Every byte is checked against its digest before anything is
stored. The snapshot gets the next number of its container here. One that is here already is not stored again. A tag that
another snapshot has here is left out.

Exit status: 0 done, 1 failed, 2 usage.)";

int run_import(Context& context, const std::vector<std::string>& arguments) {
    po::options_description options;
    options.add_options()("name", po::value<std::string>());
    Parsed parsed = parse_words(arguments, options, 1, 1, "FILE");
    const std::string& path = parsed.words.front();
    auto files = open_export(context, path);
    if (!files) {
        throw base::Error(base::ErrorKind::unsupported,
                          base::escape(path) + " is not what `cprewind export` writes",
                          "cprewind inspect reads other checkpoints where they are");
    }
    return import_export(context, *files, parsed.text("name"));
}

}  // namespace cprewind::cli

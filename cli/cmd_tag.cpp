// `cprewind tag`: a name that a snapshot keeps.
#include <fmt/format.h>

#include <chrono>

#include "base/text.h"
#include "cli/command.h"
#include "cli/options.h"
#include "cli/record_view.h"
#include "store/repository.h"

namespace cprewind::cli {

const char* const k_tag_help = R"(Examples:
  cprewind tag web@3 golden          then: cprewind rewind web --to golden

Usage: cprewind tag SNAPSHOT TAG

A tag names one snapshot; tagging another one moves it there.

Exit status: 0 done, 1 failed, 2 usage.)";

int run_tag(Context& context, const std::vector<std::string>& arguments) {
    Parsed parsed = parse_words(arguments, po::options_description(), 2, 2, "SNAPSHOT TAG");
    auto repository = store::open_repository(context.repository, store::OpenMode::write);
    auto record = repository->resolve(parsed.words[0], std::chrono::system_clock::now());
    repository->tag(record.id, parsed.words[1]);
    record = repository->resolve(record.id, std::chrono::system_clock::now());
    if (context.json) {
        context.output.json({{"snapshot", record_json(record)}});
    } else {
        context.output.line(
            fmt::format("{} is now also called {}", record.name(), base::escape(parsed.words[1])));
    }
    return exit_done;
}

}  // namespace cprewind::cli

// `cprewind decode`: one image as JSON, as `crit decode` prints it.
#include <fmt/format.h>

#include <filesystem>

#include "base/error.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/json_text.h"
#include "cli/options.h"
#include "cli/subject.h"
#include "images/directory_source.h"
#include "images/image_json.h"
#include "images/payload_text.h"
#include "images/pretty_json.h"

namespace cprewind::cli {

const char* const k_decode_help = R"(Examples:
  cprewind decode core-1.img                  the same JSON value as `crit decode -i core-1.img`
  cprewind decode --pretty web@3 files.img    an image of a stored snapshot, for people
  cprewind decode core-1.img | jq .entries[0].tc.comm

Usage: cprewind decode [--pretty] [--nopl] [SNAPSHOT] IMAGE

--pretty indents, and shows addresses in hexadecimal, flags and states by name, devices and IP addresses as such:
what crit shows, but with the states 3 and 6 named right. `cprewind encode` reads this, too.

--nopl shows how many bytes follow an entry instead of the bytes, as `crit show --nopl`; no input for `encode`.

Keys that crit does not have ("raw", "rest", …) are there only when an image holds something that its schema
does not; with them `cprewind encode` makes the very same bytes again. Raw images (pages, tmpfs archives) have
no JSON.

Exit status: 0 done, 1 failed, 2 usage, 3 done, with findings (on standard error).)";

int run_decode(Context& context, const std::vector<std::string>& arguments) {
    po::options_description options;
    options.add_options()("pretty", "")("nopl", "");
    Parsed parsed = parse_words(arguments, options, 1, 2, "IMAGE");
    std::unique_ptr<images::ImageFile> file;
    std::string name = parsed.words.back();
    if (parsed.words.size() == 2) {
        Subject subject = open_subject(context, parsed.words.front());
        file = subject.images->open(name);
    } else {
        std::filesystem::path path(name);
        std::filesystem::path directory = path.has_parent_path() ? path.parent_path() : ".";
        name = path.filename().string();
        file = images::DirectorySource(directory).open(name);
    }
    if (!file) {
        throw base::Error(base::ErrorKind::not_found,
                          fmt::format("there is no image '{}'", base::escape(parsed.words.back())));
    }
    images::Findings findings;
    images::Json document = images::decode_image(*file, name, findings);
    if (parsed.has("nopl")) images::shorten_payloads(document);
    if (parsed.has("pretty")) images::make_pretty(document);
    context.output.line(document.dump(parsed.has("pretty") ? 4 : -1));
    for (const images::Finding& finding : findings) {
        complain(fmt::format("{}: {}: {}", images::name_of(finding.kind), base::escape(finding.file),
                             base::escape(finding.message)));
    }
    return findings.empty() ? exit_done : exit_findings;
}

}  // namespace cprewind::cli

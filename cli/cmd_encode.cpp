// `cprewind encode`: an image from the JSON of `cprewind decode` or `crit decode`.
#include <fmt/format.h>

#include <filesystem>

#include "base/error.h"
#include "base/fd.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/options.h"
#include "images/image_json.h"

namespace cprewind::cli {

const char* const k_encode_help = R"(Examples:
  cprewind encode core-1.json -o core-1.img
  cprewind decode core-1.img >c.json && cprewind encode c.json -o same.img && cmp core-1.img same.img

Usage: cprewind encode JSON -o IMAGE

Replaces IMAGE as a whole or leaves it alone.

Exit status: 0 done, 1 failed, 2 usage, or no such JSON.)";

int run_encode(Context&, const std::vector<std::string>& arguments) {
    po::options_description options;
    options.add_options()("output,o", po::value<std::string>());
    Parsed parsed = parse_words(arguments, options, 1, 1, "JSON");
    if (!parsed.has("output"))
        throw base::Error(base::ErrorKind::usage, "which image to write is not said", "add -o IMAGE");
    const std::string& path = parsed.words.front();
    // Base64 and names make the JSON of an image several times as large.
    constexpr uint64_t k_json_limit = uint64_t{2} << 30;
    images::Json document = images::Json::parse(base::read_file(path, k_json_limit), nullptr, false);
    if (document.is_discarded()) {
        throw base::Error(base::ErrorKind::usage, fmt::format("{} is not JSON", base::escape(path)),
                          "it is what `cprewind decode` prints");
    }
    base::replace_file(parsed.text("output"), images::encode_image(document));
    return exit_done;
}

}  // namespace cprewind::cli

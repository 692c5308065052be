#include "cli/options.h"

#include <fmt/format.h>

#include "base/error.h"
#include "base/text.h"

namespace cprewind::cli {
namespace {

using base::Error;
using base::ErrorKind;

std::vector<std::string> long_names(const po::options_description& options) {
    std::vector<std::string> names;
    for (const auto& option : options.options()) names.push_back("--" + option->long_name());
    return names;
}

}  // namespace

Parsed parse_words(const std::vector<std::string>& arguments, const po::options_description& options,
                   size_t least, size_t most, const std::string& what) {
    Parsed parsed;
    try {
        namespace style = po::command_line_style;
        // No guessing: an abbreviation that works today would mean something else tomorrow.
        auto result = po::command_line_parser(arguments)
                          .options(options)
                          .style(style::unix_style & ~style::allow_guessing)
                          .run();
        po::store(result, parsed.values);
        po::notify(parsed.values);
        for (const auto& option : result.options) {
            if (option.position_key == -1 && !option.string_key.empty()) continue;
            if (!option.string_key.empty() && option.position_key < 0) continue;
            parsed.words.insert(parsed.words.end(), option.value.begin(), option.value.end());
        }
    } catch (const po::unknown_option& error) {
        std::string name = error.get_option_name();
        throw Error(ErrorKind::usage, fmt::format("unknown option {}", base::escape(name)),
                    base::did_you_mean(name, long_names(options)));
    } catch (const po::error& error) {
        throw Error(ErrorKind::usage, base::escape(error.what()));
    }
    if (parsed.words.size() < least) {
        throw Error(ErrorKind::usage, fmt::format("{} is missing", what));
    }
    if (parsed.words.size() > most) {
        throw Error(ErrorKind::usage,
                    fmt::format("'{}' is one word too many", base::escape(parsed.words[most])));
    }
    return parsed;
}

engine::Via parse_via(const std::string& text) {
    if (text.empty() || text == "auto") return engine::Via::automatic;
    if (text == "runtime") return engine::Via::runtime;
    if (text == "api") return engine::Via::api;
    throw Error(ErrorKind::usage,
                fmt::format("--via is '{}'; it takes auto, runtime or api", base::escape(text)));
}

}  // namespace cprewind::cli

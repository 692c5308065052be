// Reading a command's words with Boost.Program_options; what is wrong with them becomes an Error of kind
// usage.
#pragma once

#include <boost/program_options.hpp>
#include <optional>
#include <string>
#include <vector>

#include "engine/dump.h"

namespace cprewind::cli {

namespace po = boost::program_options;

// Options by name and the words that are none, in order.
struct Parsed {
    po::variables_map values;
    std::vector<std::string> words;

    bool has(const char* name) const { return values.count(name) > 0; }
    std::string text(const char* name) const {
        return has(name) ? values[name].as<std::string>() : std::string();
    }
};

// `options` describes the command's own; `least` and `most` bound the number of words, `what` names them in
// the message
// ("CONTAINER").
Parsed parse_words(const std::vector<std::string>& arguments, const po::options_description& options,
                   size_t least, size_t most, const std::string& what);

// "auto", "runtime" or "api".
engine::Via parse_via(const std::string& text);

}  // namespace cprewind::cli

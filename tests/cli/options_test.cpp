#include "cli/options.h"

#include <catch2/catch_test_macros.hpp>

#include "base/error.h"

using namespace cprewind;
using namespace cprewind::cli;

namespace {

po::options_description make_options() {
    po::options_description options;
    options.add_options()("message,m", po::value<std::string>())("stop", "");
    return options;
}

}  // namespace

TEST_CASE("options and words are told apart wherever they stand") {
    Parsed parsed = parse_words({"web", "-m", "a note", "db", "--stop"}, make_options(), 1, 9, "CONTAINER");
    CHECK(parsed.words == std::vector<std::string>{"web", "db"});
    CHECK(parsed.text("message") == "a note");
    CHECK(parsed.has("stop"));
    CHECK(parse_words({"--message=x", "web"}, make_options(), 1, 1, "C").text("message") == "x");
}

TEST_CASE("after two dashes everything is a word") {
    CHECK(parse_words({"--", "--stop"}, make_options(), 1, 1, "C").words ==
          std::vector<std::string>{"--stop"});
}

TEST_CASE("what does not fit is a usage error that says why") {
    auto message_of = [](const std::vector<std::string>& words) {
        try {
            parse_words(words, make_options(), 1, 1, "CONTAINER");
        } catch (const base::Error& error) {
            CHECK(error.kind() == base::ErrorKind::usage);
            return error.message();
        }
        return std::string("no error");
    };
    CHECK(message_of({}) == "CONTAINER is missing");
    CHECK(message_of({"a", "b"}) == "'b' is one word too many");
    CHECK(message_of({"a", "--sotp"}) == "unknown option --sotp");
    CHECK(message_of({"a", "--sto"}) == "unknown option --sto");  // no guessing of abbreviations
    CHECK(message_of({"a", "-m"}) != "no error");
}

TEST_CASE("--via is one of three") {
    CHECK(parse_via("") == engine::Via::automatic);
    CHECK(parse_via("api") == engine::Via::api);
    CHECK_THROWS_AS(parse_via("magic"), base::Error);
}

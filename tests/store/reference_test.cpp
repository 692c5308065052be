// Every way of naming a snapshot, and what is said when a name does not work.
#include "store/reference.h"

#include <catch2/catch_test_macros.hpp>

#include "base/error.h"
#include "tests/store/helpers.h"

using namespace cprewind;
using namespace cprewind::store;
using namespace cprewind::store::test;

namespace {

const base::WallTime k_now{std::chrono::seconds(1'800'000'000)};

SnapshotRecord record(std::string container, uint64_t number, std::string id_start, int64_t seconds_ago,
                      std::vector<std::string> tags = {}) {
    SnapshotRecord out;
    out.id = id_start + std::string(64 - id_start.size(), '0');
    out.number = number;
    out.info = info_for(std::move(container));
    out.info.taken_at = k_now - std::chrono::seconds(seconds_ago);
    out.info.tags = std::move(tags);
    return out;
}

const std::vector<SnapshotRecord> k_all = {
    record("web", 1, "aaaa1", 3600), record("web", 3, "aaaa2", 1200, {"good"}), record("web", 4, "bbbb", 300),
    record("cafe", 1, "cccc", 100),  record("db", 1, "cafe5", 50, {"web-tag"}),
};

std::string find(std::string_view text) {
    try {
        return find_reference(parse_reference(text, k_now), k_all).name();
    } catch (const base::Error& error) {
        return std::string(name_of(error.kind())) + ": " + error.message() + " | " + error.hint();
    }
}

}  // namespace

TEST_CASE("a snapshot is found by number, place, count back, time, tag and id") {
    CHECK(find("web@3") == "web@3");
    CHECK(find("web@latest") == "web@4");
    CHECK(find("web") == "web@4");
    CHECK(find("web~0") == "web@4");
    CHECK(find("web~1") == "web@3");
    CHECK(find("web~2") == "web@1");
    CHECK(find("web@3~1") == "web@1");
    CHECK(find("good~1") == "web@1");
    CHECK(find("good") == "web@3");
    CHECK(find("bbbb") == "web@4");
    CHECK(find("bbbb0") == "web@4");
    CHECK(find("aaaa2") == "web@3");
    CHECK(find(k_all[0].id) == "web@1");
    CHECK(find("web@{10m ago}") == "web@3");
    CHECK(find("web@{20m ago}") == "web@3");
    CHECK(find("web@{now}") == "web@4");
    CHECK(find("web@{1 hour ago}") == "web@1");
    CHECK(find("web@{" + base::local_time(k_now - std::chrono::seconds(600)) + "}") == "web@3");
    CHECK(find("web000000000@3") == "web@3");  // by the container's id
}

TEST_CASE("a whole name beats a prefix, two whole names are ambiguous") {
    CHECK(find("cafe") == "cafe@1");
    CHECK(find("cafe5") == "db@1");
    auto all = k_all;
    all[0].info.tags.push_back("db");
    CHECK(error_of([&] { find_reference(parse_reference("db", k_now), all); }) == "ambiguous");
    CHECK(
        find("aaaa").starts_with("ambiguous: 'aaaa' may mean web@1 (aaaa10000000) or web@3 (aaaa20000000)"));
}

TEST_CASE("what is not there is said with near names and the next step") {
    CHECK(find("wbe") == "not-found: no snapshot or container is called 'wbe' | did you mean 'web'?");
    CHECK(find("goof").ends_with("did you mean 'good'?"));
    CHECK(find("wbe@1").starts_with("not-found: no snapshots of a container 'wbe'"));
    CHECK(find("web@2").starts_with("not-found: there is no snapshot web@2; web has web@1 to web@4"));
    CHECK(find("web~3").starts_with("not-found: web@4 has only 2 snapshots before it"));
    CHECK(find("web@{2h ago}").starts_with("not-found: no snapshot of web is as old as"));
    CHECK(find("aaa").starts_with("not-found"));  // three digits are no prefix
    CHECK(find("w\x1b").starts_with("not-found: no snapshot or container is called 'w\\x1b'"));
}

TEST_CASE("what cannot be read is a usage error") {
    for (const char* text : {"", "@3", "web@", "web@x", "web@-1", "web@{", "web@{soon}", "web~", "web~x",
                             "~1", "a/b", "web@3@4", "web~1~2", "web@99999999999999999999"}) {
        CAPTURE(text);
        CHECK(find(text).starts_with("usage: "));
    }
}

TEST_CASE("a tag can be told from everything else") {
    CHECK(is_tag("last-good_2.1"));
    CHECK(is_tag("größer"));
    for (const std::string& text :
         {std::string(), std::string("a b"), std::string("a@1"), std::string("a~1"), std::string("a/b"),
          std::string("-m"), std::string("."), std::string("x\n"), std::string("\xff"), std::string("\u202e"),
          std::string(64, 'a'), std::string(129, 'z')}) {
        CAPTURE(text);
        CHECK(!is_tag(text));
    }
}

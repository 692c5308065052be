// Where other readers of CRIU's images go wrong, and that we do not. Each test names the reader and its fault; those
// that are about one parser only are beside its other tests (docs/comparison-crit.md and docs/comparison.md list all).
#include <catch2/catch_test_macros.hpp>

#include <set>

#include "images/directory_source.h"
#include "images/image_json.h"
#include "images/payload_text.h"
#include "images/proto/content.pb.h"
#include "inspect/fds.h"
#include "inspect/mem.h"
#include "inspect/ps.h"
#include "tests/images/image_builder.h"

using namespace cprewind::inspect;
using namespace cprewind::images::test;
namespace images = cprewind::images;
namespace criu = cprewind::criu;

namespace {

struct Loaded {
    explicit Loaded(const std::string& name)
        : source(copy_of(images::DirectorySource(std::string(CPREWIND_FIXTURES "/") + name))),
          checkpoint(images::load_checkpoint(source)) {}
    MemorySource source;
    images::Checkpoint checkpoint;
    Moment moment() const { return {checkpoint, source}; }
};

images::Json decode(const std::string& image, std::string_view name) {
    images::Findings findings;
    images::Json json = images::decode_image(MemoryFile(image), name, findings);
    CHECK(findings.empty());
    return json;
}

std::string image_with_payload(uint32_t bytes) {
    criu::pipe_data_entry entry;
    entry.set_pipe_id(1);
    entry.set_bytes(bytes);
    return make_image("PIPES_DATA", entry) + std::string(bytes, 'x');
}

}  // namespace

TEST_CASE("crit show --nopl fails on a BPF map: here its payload is left out like any other") {
    criu::bpfmap_data_entry map;
    map.set_map_id(1);
    map.set_keys_bytes(16);
    map.set_values_bytes(2032);
    map.set_count(4);
    images::Json json = decode(make_image("BPFMAP_DATA", map) + std::string(2048, 'x'), "bpfmap-data.img");
    images::shorten_payloads(json);
    CHECK(json["entries"][0]["extra"] == "... <2KB>");
    json = decode(image_with_payload(1000), "pipes-data.img");
    images::shorten_payloads(json);
    CHECK(json["entries"][0]["extra"] == "... <1000B>");
    json = decode(image_with_payload(1536), "pipes-data.img");
    images::shorten_payloads(json);
    CHECK(json["entries"][0]["extra"] == "... <1.5KB>");
}

TEST_CASE("crit info takes payload for entries: here there are as many as CRIU wrote") {
    criu::pipe_data_entry pipe;
    pipe.set_pipe_id(1);
    pipe.set_bytes(8);
    // What follows an entry begins with a size, as an entry does.
    std::string image = make_image("PIPES_DATA", pipe) + std::string("\4\0\0\0abcd", 8);
    append_entry(image, pipe);
    image += std::string("\4\0\0\0efgh", 8);
    CHECK(decode(image, "pipes-data.img")["entries"].size() == 2);
}

TEST_CASE("crit x rss fails on images of CRIU up to 4.1.1: mem counts their pages") {
    for (const char* name : {"criu-4.1.1/shared", "criu-4.1.1/zombie"}) {
        Loaded loaded(name);
        MemView view = list_memory(loaded.moment());
        CHECK(view.findings.empty());
        uint64_t dumped = 0, stored = 0;
        for (const ProcessMemory& process : view.processes) dumped += process.account.private_bytes;
        for (const auto& [file, content] : loaded.source.files) {
            if (file.starts_with("pages-")) stored += content.size();
        }
        CHECK(dumped > 0);
        CHECK(dumped <= stored);
        // All of it but the one page that two share.
        CHECK(stored - dumped <= 4096);
    }
}

TEST_CASE("crit x fds, mems and rss stop at a zombie: fds and mem show those that live") {
    Loaded loaded("states/zombie");
    REQUIRE(loaded.checkpoint.processes.size() == 2);
    images::Findings findings;
    std::vector<FdRow> fds = list_fds(loaded.moment(), findings);
    MemView memory = list_memory(loaded.moment());
    CHECK((findings.empty() && memory.findings.empty()));
    std::set<uint32_t> with_files;
    for (const FdRow& row : fds) with_files.insert(row.pid.value);
    CHECK(with_files == std::set<uint32_t>{loaded.checkpoint.processes[0].pid.value});
    REQUIRE(memory.processes.size() == 1);
    CHECK(memory.processes[0].dumped_bytes > 0);
}

TEST_CASE("checkpointctl finds no command line in images of CRIU up to 4.1.1: ps does") {
    Loaded loaded("criu-4.1.1/epoll");
    PsView view = list_processes(loaded.moment());
    CHECK(view.findings.empty());
    REQUIRE(view.rows.size() == 1);
    CHECK(view.rows[0].arguments_complete);
    REQUIRE(view.rows[0].arguments.size() == 2);
    CHECK(view.rows[0].arguments[1] == "epoll");
}

TEST_CASE("checkpointctl --ps-tree-env gives up at a string without '=': here it is shown as it is") {
    Loaded loaded("counter");
    size_t changed = 0;
    for (auto& [name, content] : loaded.source.files) {
        if (!name.starts_with("pages-")) continue;
        for (size_t at = 0; (at = content.find("FIXTURE=yes", at)) != std::string::npos; ++at, ++changed)
            content[at + 7] = ' ';
    }
    REQUIRE(changed > 0);
    images::Findings findings;
    bool complete = false;
    images::MemoryWindow memories(loaded.checkpoint, loaded.source, images::ExpectedStrings::environment,
                                  findings);
    auto environment = read_environment(memories, loaded.checkpoint.processes.at(0), complete);
    CHECK(environment == std::vector<std::string>{"PATH=/bin", "FIXTURE yes", "HOME=/"});
    CHECK((complete && findings.empty()));
}

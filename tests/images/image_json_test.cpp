// decode and encode, on what no real dump shows or what crit gets wrong. That all fixtures come out as crit's
// is tested where crit is: tests/e2e/test_crit.py.
#include "images/image_json.h"

#include <catch2/catch_test_macros.hpp>
#include <filesystem>

#include "base/error.h"
#include "images/directory_source.h"
#include "images/pretty_json.h"
#include "images/proto/content.pb.h"
#include "images/proto/memory.pb.h"
#include "images/proto/namespaces.pb.h"
#include "images/proto/process.pb.h"
#include "images/proto/system.pb.h"
#include "tests/images/image_builder.h"

using namespace cprewind::images;
using cprewind::images::test::append_entry;
using cprewind::images::test::make_image;
using cprewind::images::test::MemoryFile;
namespace base = cprewind::base;
namespace criu = cprewind::criu;

namespace {

struct Decoded {
    Json json;
    Findings findings;
};

Decoded decode(const std::string& bytes, std::string_view name = "x.img") {
    Findings findings;
    Json json = decode_image(MemoryFile(bytes), name, findings);
    return {std::move(json), std::move(findings)};
}

// Through text, as a file would go.
std::string again(const Json& json) {
    return encode_image(Json::parse(json.dump()));
}

criu::ipc_sem_entry semaphores(uint32_t count) {
    criu::ipc_sem_entry entry;
    auto& desc = *entry.mutable_desc();
    desc.set_key(1);
    desc.set_uid(0);
    desc.set_gid(0);
    desc.set_cuid(0);
    desc.set_cgid(0);
    desc.set_mode(0600);
    desc.set_id(0);
    entry.set_nsems(count);
    return entry;
}

}  // namespace

TEST_CASE("every image of every fixture is the same bytes after decode and encode, without a finding") {
    size_t images = 0;
    for (const auto& item : std::filesystem::recursive_directory_iterator(CPREWIND_FIXTURES)) {
        auto kind = find_image_kind(item.path().filename().string());
        if (!item.is_regular_file() || !kind || kind->kind->head == ImageHead::raw) continue;
        INFO(item.path());
        DirectorySource source(item.path().parent_path());
        std::string bytes = *read_whole(source, item.path().filename().string());
        auto [json, findings] = decode(bytes, item.path().filename().string());
        CHECK(again(json) == bytes);
        CHECK(findings.empty());
        CHECK_FALSE(json.contains("rest"));
        ++images;
    }
    CHECK(images > 80);
}

TEST_CASE("an image cut anywhere or with any byte changed is the same bytes after decode and encode") {
    criu::ipc_msg_entry queue;
    *queue.mutable_desc() = semaphores(1).desc();
    queue.set_qbytes(100);
    queue.set_qnum(1);
    criu::ipc_msg message;
    message.set_mtype(1);
    message.set_msize(3);
    std::string whole = make_image("IPCNS_MSG", queue);
    append_entry(whole, message);
    whole += std::string("abc\0\0\0\0\0", 8);
    REQUIRE(decode(whole).findings.empty());
    for (size_t size = 8; size < whole.size(); ++size) {
        INFO(size);
        std::string cut = whole.substr(0, size);
        auto [json, findings] = decode(cut);
        CHECK(again(json) == cut);
        CHECK(findings.empty() == (size == 8));
    }
    for (size_t i = 8; i < whole.size(); ++i) {
        for (int bit = 0; bit < 8; ++bit) {
            INFO(i << " " << bit);
            std::string changed = whole;
            changed[i] = static_cast<char>(changed[i] ^ 1 << bit);
            CHECK(again(decode(changed).json) == changed);
        }
    }
}

TEST_CASE("semaphores are not padded when they fill eight bytes, and are when they do not") {
    std::string bytes = make_image("IPCNS_SEM", semaphores(4));
    bytes += std::string("\1\0\2\0\3\0\4\0", 8);
    append_entry(bytes, semaphores(1));
    bytes += std::string("\5\0\0\0\0\0\0\0", 8);
    auto [json, findings] = decode(bytes);
    CHECK(findings.empty());
    CHECK(json["entries"][0]["extra"] == Json({1, 2, 3, 4}));
    CHECK(json["entries"][1]["extra"] == Json::array({5}));
    CHECK(again(json) == bytes);
}

TEST_CASE("padding that CRIU left uncleared is kept, and no key says so when it is zero") {
    std::string bytes = make_image("IPCNS_SEM", semaphores(1));
    std::string clear = bytes + std::string("\5\0\0\0\0\0\0\0", 8);
    std::string old = bytes + std::string("\5\0secret", 8);
    CHECK_FALSE(decode(clear).json["entries"][0].contains("padding"));
    CHECK(parse_base64(decode(old).json["entries"][0]["padding"]) == "secret");
    CHECK(again(decode(old).json) == old);
}

TEST_CASE("segments whose bytes are in pages do not swallow those that follow (crit does)") {
    criu::ipc_shm_entry entry;
    *entry.mutable_desc() = semaphores(1).desc();
    entry.set_size(4096);
    entry.set_in_pagemaps(true);
    std::string bytes = make_image("IPCNS_SHM", entry, entry);
    auto [json, findings] = decode(bytes);
    CHECK(findings.empty());
    CHECK(json["entries"].size() == 2);
    CHECK(json["entries"][0]["extra"] == "");
    CHECK(again(json) == bytes);
}

TEST_CASE(
    "segments with their bytes inside, as before CRIU 3.0, are padded to four (crit cannot encode them)") {
    criu::ipc_shm_entry entry;
    *entry.mutable_desc() = semaphores(1).desc();
    entry.set_size(5);
    std::string bytes = make_image("IPCNS_SHM", entry) + std::string("hello\0\0\0", 8);
    auto [json, findings] = decode(bytes);
    CHECK(findings.empty());
    CHECK(parse_base64(json["entries"][0]["extra"]) == "hello");
    CHECK(again(json) == bytes);
}

TEST_CASE("keys and values of a BPF map come back (crit cannot encode them)") {
    criu::bpfmap_data_entry entry;
    entry.set_map_id(1);
    entry.set_keys_bytes(4);
    entry.set_values_bytes(8);
    entry.set_count(1);
    std::string bytes = make_image("BPFMAP_DATA", entry) + "keysvalues12";
    auto [json, findings] = decode(bytes);
    CHECK(findings.empty());
    CHECK(parse_base64(json["entries"][0]["extra"]) == "keysvalues12");
    CHECK(again(json) == bytes);
}

TEST_CASE("pending signals, pidfds and binfmt_misc are decoded (crit has no handler)") {
    criu::siginfo_entry signal;
    signal.set_siginfo("raw");
    std::string bytes = make_image("SIGNAL", signal);
    CHECK(decode(bytes, "signal-s-7.img").json["entries"][0]["siginfo"] == "cmF3\n");
    CHECK(again(decode(bytes).json) == bytes);
    criu::binfmt_misc_entry format;
    format.set_name("wine");
    format.set_enabled(true);
    format.set_interpreter("/bin/wine");
    CHECK(decode(make_image("BINFMT_MISC", format)).json["entries"][0]["name"] == "wine");
}

TEST_CASE("a ghost file is whole or in chunks") {
    criu::ghost_file_entry file;
    file.set_uid(0);
    file.set_gid(0);
    file.set_mode(0100600);
    std::string whole = make_image("GHOST_FILE", file) + "content";
    CHECK(parse_base64(decode(whole).json["entries"][0]["extra"]) == "content");
    CHECK(again(decode(whole).json) == whole);

    file.set_chunks(true);
    criu::ghost_chunk_entry chunk;
    chunk.set_len(3);
    chunk.set_off(4096);
    std::string chunks = make_image("GHOST_FILE", file);
    for (const char* text : {"abc", "def"}) {
        append_entry(chunks, chunk);
        chunks += text;
    }
    auto [json, findings] = decode(chunks);
    CHECK(findings.empty());
    CHECK(json["entries"].size() == 3);
    CHECK(json["entries"][2] == Json({{"len", 3}, {"off", 4096}, {"extra", "ZGVm\n"}}));
    CHECK(again(json) == chunks);
}

TEST_CASE("an image with one magic, as CRIU before 1.7 wrote it, stays one") {
    criu::pstree_entry entry;
    entry.set_pid(1);
    entry.set_ppid(0);
    entry.set_pgid(1);
    entry.set_sid(1);
    std::string bytes = make_image("PSTREE", entry).substr(4);
    CHECK(decode(bytes).json["image_version"] == 1);
    CHECK(again(decode(bytes).json) == bytes);
    CHECK_FALSE(decode(make_image("PSTREE", entry)).json.contains("image_version"));
}

TEST_CASE("fields of a newer CRIU are named, kept, and dropped only when the entry is edited") {
    criu::utsns_entry entry;
    entry.set_nodename("n");
    entry.set_domainname("d");
    entry.mutable_unknown_fields()->AddVarint(99, 5);
    std::string bytes = make_image("UTSNS", entry);
    auto [json, findings] = decode(bytes);
    REQUIRE(findings.size() == 1);
    CHECK(findings[0].kind == FindingKind::unknown);
    CHECK(json["entries"][0]["unknown_fields"] == Json::array({"99"}));
    CHECK(again(json) == bytes);
    json["entries"][0]["nodename"] = "other";
    CHECK(decode(again(json)).json["entries"][0]["nodename"] == "other");
}

TEST_CASE("text that is not UTF-8 stays what it was") {
    criu::utsns_entry entry;
    entry.set_nodename("\xff\xfe");
    entry.set_domainname("d\xc3\xa9");
    std::string bytes = make_image("UTSNS", entry);
    CHECK(decode(bytes).json["entries"][0]["domainname"] == "d\xc3\xa9");
    CHECK(again(decode(bytes).json) == bytes);
}

TEST_CASE("raw images and other files have no JSON") {
    CHECK_THROWS_AS(decode("", "core-1.img"), base::Error);
    CHECK_THROWS_AS(decode("12345678", "pages-1.img"), base::Error);
    CHECK_THROWS_AS(decode("12", "core-1.img"), base::Error);
}

TEST_CASE("a count of pages as crit 4.1 calls it goes where CRIU 4.1 had it") {
    Json head = {{"pages_id", 1u}};
    Json old = {{"vaddr", 4096u}, {"nr_pages", 3u}, {"flags", 4u}};
    Json now = {{"vaddr", 4096u}, {"compat_nr_pages", 3u}, {"flags", 4u}};
    auto encode = [&](const Json& entry) {
        return encode_image({{"magic", "PAGEMAP"}, {"entries", Json::array({head, entry})}});
    };
    CHECK(encode(old) == encode(now));
    now["nr_pages"] = 3u;
    CHECK(encode(old) != encode(now));
}

TEST_CASE("JSON that is no image is refused, not guessed at") {
    for (const char* text :
         {"[]", "{}", "3", R"({"magic":"PAGES","entries":[]})", R"({"magic":"NO","entries":[]})",
          R"({"magic":"PSTREE"})", R"({"magic":"PSTREE","entries":3})", R"({"magic":"PSTREE","entries":[3]})",
          R"({"magic":"PSTREE","entries":[{"pid":-1}]})",
          R"({"magic":"PSTREE","entries":[{"pid":4294967296}]})",
          R"({"magic":"PSTREE","entries":[{"pid":"one"}]})",
          R"({"magic":"PSTREE","entries":[{"threads":1}]})",
          R"({"magic":"PIPES_DATA","entries":[{"pipe_id":1,"bytes":3}]})",
          R"({"magic":"PIPES_DATA","entries":[{"bytes":3,"extra":"*"}]})",
          R"({"magic":"IPCNS_SEM","entries":[{"nsems":2,"extra":[1]}]})",
          R"({"magic":"TCP_STREAM","entries":[{"extra":{}}]})",
          R"({"magic":"CORE","entries":[{"mtype":"Z80"}]})"}) {
        INFO(text);
        CHECK_THROWS_AS(encode_image(Json::parse(text)), base::Error);
    }
}

TEST_CASE("JSON nested without end is refused") {
    std::string text = R"({"magic":"APPARMOR","entries":[)";
    for (int i = 0; i < 100000; ++i) text += R"({"namespaces":[)";
    for (int i = 0; i < 100000; ++i) text += "]}";
    CHECK_THROWS_AS(encode_image(Json::parse(text + "]}")), base::Error);
}

TEST_CASE("task states have their own names when pretty (crit has stopped and zombie the wrong way round)") {
    for (auto [state, name] : {std::pair(1u, "Alive"), {2u, "Dead"}, {3u, "Stopped"}, {6u, "Zombie"}}) {
        Json image = {{"magic", "CORE"},
                      {"entries", {{{"tc", {{"task_state", state}, {"blk_sigset", 0u}}}}}}};
        Json pretty = image;
        make_pretty(pretty);
        CHECK(pretty["entries"][0]["tc"]["task_state"] == name);
        CHECK(pretty["entries"][0]["tc"]["blk_sigset"] == "0x0");
        CHECK(encode_image(pretty) == encode_image(image));
    }
}

TEST_CASE("what a number means is shown when pretty, and read again") {
    Json entry = {{"id", 1u},
                  {"ino", 2u},
                  {"family", 10u},
                  {"type", 1u},
                  {"proto", 99u},
                  {"state", 10u},
                  {"src_port", 80u},
                  {"dst_port", 0u},
                  {"flags", 2050u},
                  {"backlog", 1u},
                  {"src_addr", {0u, 0u, 0u, 0x01000000u}},
                  {"dst_addr", {0x0100007fu}}};
    Json image = {{"magic", "INETSK"}, {"entries", {entry}}};
    Json pretty = image;
    make_pretty(pretty);
    const Json& shown = pretty["entries"][0];
    CHECK(shown["family"] == "INET6");
    CHECK(shown["proto"] == 99);
    CHECK(shown["state"] == "LISTEN");
    CHECK(shown["flags"] == "0x802");
    CHECK(shown["src_addr"] == Json{"::1"});
    CHECK(shown["dst_addr"] == Json{"127.0.0.1"});
    CHECK(encode_image(pretty) == encode_image(image));

    Json file = {{"magic", "REG_FILES"}, {"entries", {{{"id", 1u}, {"flags", 0x40000802u}, {"name", "/x"}}}}};
    pretty = file;
    make_pretty(pretty);
    CHECK(pretty["entries"][0]["flags"] == "O_RDWR | O_NONBLOCK | 0x40000000");
    CHECK(encode_image(pretty) == encode_image(file));
    pretty["entries"][0]["flags"] = "O_RDWR | O_NONSENSE";
    CHECK_THROWS_AS(encode_image(pretty), base::Error);
}

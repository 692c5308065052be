// What no framing shows: an image that ends between two entries, that is not there, or that nobody asks for. Other images
// tell; docs/images.md says which.
#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <set>
#include <utility>

#include "images/checkpoint.h"
#include "images/directory_source.h"
#include "images/ghosts.h"
#include "images/image_reader.h"
#include "images/network.h"
#include "images/page_counts.h"
#include "images/proto/files.pb.h"
#include "images/proto/memory.pb.h"
#include "images/proto/system.pb.h"
#include "tests/images/image_builder.h"

using namespace cprewind::images;
using namespace cprewind::images::test;
namespace criu = cprewind::criu;

namespace {

MemorySource fixture(const std::string& name) {
    return copy_of(DirectorySource(std::string(CPREWIND_FIXTURES "/") + name));
}

std::string shown(const Findings& findings) {
    std::string text;
    for (const Finding& finding : findings)
        text += std::string(name_of(finding.kind)) + " " + finding.file + ": " + finding.message + "\n";
    return text;
}

// Entries of an image of `kind`.
template <typename Message>
std::vector<Message> entries(const MemorySource& source, const std::string& name, const char* kind) {
    Findings findings;
    auto reader = ImageReader::open(source, name, image_kind(kind), findings);
    std::vector<Message> out;
    Message entry;
    while (reader && reader->next(entry)) out.push_back(entry);
    return out;
}

Findings counted(const MemorySource& source) {
    Findings findings;
    check_page_counts(source, load_checkpoint(source).statistics, findings);
    return findings;
}

}  // namespace

TEST_CASE(
    "descriptors that were cut off leave open files that nobody has, unless others lead to the same ones") {
    for (const char* name :
         {"states/tcp", "states/fifo", "states/terminal", "states/in-flight", "criu-4.1.1/epoll"}) {
        MemorySource source = fixture(name);
        std::vector<criu::fdinfo_entry> table = entries<criu::fdinfo_entry>(source, "fdinfo-2.img", "FDINFO");
        REQUIRE(table.size() >= 4);
        std::string cut = make_head(image_kind("FDINFO"));
        std::set<uint32_t> left;
        for (size_t kept = 0; kept < table.size(); ++kept) {
            INFO(name << " with " << kept << " of " << table.size());
            bool lost = false;
            for (size_t i = kept; i < table.size(); ++i) lost = lost || !left.contains(table[i].id());
            source.files["fdinfo-2.img"] = cut;
            Findings findings = load_checkpoint(source).findings;
            INFO(shown(findings));
            REQUIRE(findings.size() == (lost ? 1 : 0));
            if (lost) {
                CHECK(findings[0].kind == FindingKind::truncated);
                CHECK(findings[0].file == "fdinfo-2.img");
            }
            append_entry(cut, table[kept]);
            left.insert(table[kept].id());
        }
    }
}

TEST_CASE("runs that a pagemap lost and that have no bytes of their own are told by CRIU's counts") {
    MemorySource source = fixture("counter");
    CHECK(counted(source).empty());
    criu::stats_entry statistics = entries<criu::stats_entry>(source, "stats-dump", "STATS").at(0);
    std::string pagemap = source.files["pagemap-1.img"];
    // A run that is in the parent checkpoint, as the last one.
    criu::pagemap_entry run;
    run.set_vaddr(0x7fffffffe000);
    run.set_compat_nr_pages(0);
    run.set_nr_pages(1);
    run.set_flags(1);
    append_entry(source.files["pagemap-1.img"], run);
    statistics.mutable_dump()->set_pages_skipped_parent(1);
    source.files["stats-dump"] = make_image("STATS", statistics);
    CHECK(counted(source).empty());
    source.files["pagemap-1.img"] = pagemap;
    Findings findings = counted(source);
    REQUIRE(findings.size() == 1);
    CHECK(findings[0].kind == FindingKind::truncated);
    CHECK(findings[0].file == "pagemap-*.img");
    // An older CRIU's counts of shared memory, or none at all, say nothing.
    source.files.erase("stats-dump");
    CHECK(counted(source).empty());
}

TEST_CASE("pages that no pagemap is about are told") {
    MemorySource source = fixture("counter");
    source.files["pages-77.img"] = std::string(4096, 'x');
    Findings findings = counted(source);
    REQUIRE(findings.size() == 1);
    CHECK(findings[0].file == "pages-77.img");
}

TEST_CASE("images that are no part of the model are read to their end all the same") {
    size_t images = 0;
    for (const char* name : {"kitchen", "states/tun", "states/sysv-msg", "states/sysv-sem", "states/sysv-shm",
                             "states/in-flight", "states/tcp", "states/deleted", "states/terminal-unread",
                             "states/locks", "states/seccomp"}) {
        MemorySource whole = fixture(name);
        for (const auto& [image, content] : whole.files) {
            auto found = find_image_kind(image);
            if (!found || found->kind->head == ImageHead::raw || is_in_model(*found->kind)) continue;
            ++images;
            // A ghost file's content goes to the end, wherever that is; its head is what can be cut.
            bool ghost = found->kind->payload == Payload::ghost;
            MemorySource cut = whole;
            for (size_t size : {content.size() - 1, size_t{9}}) {
                if (size >= content.size() || (ghost && size > 9)) continue;
                cut.files[image] = content.substr(0, size);
                INFO(name << "/" << image << " cut to " << size);
                Findings findings = load_checkpoint(cut).findings;
                INFO(shown(findings));
                CHECK(std::any_of(findings.begin(), findings.end(), [&](const Finding& finding) {
                    return finding.file == image && finding.kind == FindingKind::truncated;
                }));
            }
        }
    }
    CHECK(images > 20);
}

TEST_CASE("the content of a deleted file that was cut, or is not there, is told by the open file") {
    for (const char* name : {"states/deleted", "criu-4.1.1/deleted"}) {
        MemorySource source = fixture(name);
        Findings findings;
        load_ghosts(source, findings);
        CHECK(findings.empty());
        std::string& content = source.files["ghost-file-1.img"];
        content.pop_back();
        source.files.erase("ghost-file-2.img");
        load_ghosts(source, findings);
        INFO(shown(findings));
        REQUIRE(findings.size() == 2);
        CHECK(findings[0].kind == FindingKind::truncated);
        CHECK(findings[0].file == "ghost-file-1.img");
        CHECK(findings[1].kind == FindingKind::absent);
        CHECK(findings[1].file == "ghost-file-2.img");
    }
}

TEST_CASE("the image of a connection, of terminals or of clocks that is not there is told by what has it") {
    auto without = [](const char* name, std::string_view begin) {
        MemorySource source = fixture(name);
        CHECK(load_checkpoint(source).findings.empty());
        bool first = true;
        std::erase_if(source.files, [&](const auto& file) {
            return file.first.starts_with(begin) && std::exchange(first, false);
        });
        CHECK_FALSE(first);
        Findings findings = load_checkpoint(source).findings;
        INFO(name << ": " << shown(findings));
        REQUIRE(findings.size() == 1);
        CHECK(findings[0].kind == FindingKind::absent);
        CHECK(findings[0].file.starts_with(begin));
    };
    without("states/tcp", "tcp-stream-");
    without("states/terminal", "tty-info");
    without("states/sessions", "timens-");
    // Where no connection has an image, CRIU was told to close them all.
    MemorySource closed = fixture("states/tcp");
    std::erase_if(closed.files, [](const auto& file) { return file.first.starts_with("tcp-stream-"); });
    CHECK(load_checkpoint(closed).findings.empty());
}

TEST_CASE("a deleted file's content that no open file is said to have is told") {
    MemorySource source = fixture("states/deleted");
    source.files.erase("remap-fpath.img");
    Findings findings;
    load_ghosts(source, findings);
    REQUIRE(findings.size() == 2);
    CHECK(findings[0].file == "ghost-file-1.img");
}

TEST_CASE("what `ip` and `iptables` saved is followed to its end") {
    MemorySource whole = fixture("states/tun");
    Findings findings;
    load_network(whole, findings);
    CHECK(findings.empty());
    for (const char* name : {"rule-9.img", "nftables-9.img", "ifaddr-9.img"}) {
        MemorySource cut = whole;
        cut.files[name].pop_back();
        Findings told;
        load_network(cut, told);
        INFO(name << ": " << shown(told));
        REQUIRE(told.size() == 1);
        CHECK(told[0].file == name);
    }
}

TEST_CASE("images of a process that pstree.img does not have are told, once for each process") {
    MemorySource source = fixture("counter");
    source.files["mm-77.img"] = source.files["mm-1.img"];
    source.files["fs-78.img"] = source.files["fs-1.img"];
    source.files["core-79.img"] = source.files["core-1.img"];
    source.files["mm-79.img"] = source.files["mm-1.img"];
    source.files["fdinfo-9.img"] = source.files["fdinfo-2.img"];
    std::set<std::string> files;
    for (const Finding& finding : load_checkpoint(source).findings) files.insert(finding.file);
    CHECK(files == std::set<std::string>{"core-79.img", "fdinfo-9.img", "fs-78.img", "mm-77.img"});
}

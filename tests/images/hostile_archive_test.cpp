// Archives that are made to exhaust or to mislead: refused or bounded, with the member named. What they may cost is
// measured: the peak of this process's memory is set back before and read after.
#include <fmt/format.h>

#include <catch2/catch_test_macros.hpp>

#include <cstring>
#include <fstream>

#include "base/error.h"
#include "images/archive_source.h"
#include "images/open_source.h"
#include "images/rootfs_diff.h"
#include "tests/images/image_builder.h"
#include "tests/images/tar_builder.h"

using namespace cprewind::images;
using namespace cprewind::images::test;
namespace base = cprewind::base;

namespace {

// AddressSanitizer keeps red zones around each allocation and what was freed for a while.
#ifdef __SANITIZE_ADDRESS__
constexpr uint64_t k_memory_limit = 512u << 20;
#else
constexpr uint64_t k_memory_limit = 128u << 20;
#endif

// A line of /proc/self/status in bytes.
uint64_t status_of(const std::string& name) {
    std::ifstream status("/proc/self/status");
    std::string word;
    uint64_t kilobytes = 0;
    while (status >> word) {
        if (word == name + ":") {
            status >> kilobytes;
            return kilobytes << 10;
        }
    }
    return 0;
}

// How much more memory `work` has needed at its worst than there was before.
template <typename Work>
uint64_t growth(Work&& work) {
    uint64_t before = status_of("VmRSS");
    std::ofstream("/proc/self/clear_refs") << "5";
    work();
    uint64_t peak = status_of("VmHWM");
    REQUIRE(peak > 0);
    return peak - std::min(peak, before);
}

// As many empty members as one likes, none of which is anywhere.
class EndlessTar : public ImageFile {
 public:
    EndlessTar(uint64_t members, bool same_name) : members_(members), same_name_(same_name) {}
    uint64_t size() const override { return members_ * 512; }
    size_t read_at(uint64_t offset, std::span<std::byte> out) const override {
        size_t done = 0;
        while (done < out.size() && offset + done < size()) {
            uint64_t index = (offset + done) / 512, skip = (offset + done) % 512;
            std::string header =
                make_header(same_name_ ? "same" : fmt::format("{:a<60}/member-{}", "", index), 0);
            size_t part = static_cast<size_t>(std::min<uint64_t>(512 - skip, out.size() - done));
            std::memcpy(out.data() + done, header.data() + skip, part);
            done += part;
        }
        return done;
    }

 private:
    uint64_t members_;
    bool same_name_;
};

// A zstd frame: `begin`, and then `zeros` bytes in blocks of four bytes for 128 KiB each.
std::string zstd_bomb(const std::string& begin, uint64_t zeros) {
    constexpr uint32_t k_block = 128u << 10;
    std::string out("\x28\xb5\x2f\xfd\x00\x38", 6);  // no content size; a window of 128 KiB
    auto add = [&](uint32_t type, uint64_t size, bool last) {
        uint32_t head = static_cast<uint32_t>(size) << 3 | type << 1 | (last ? 1 : 0);
        out.append(reinterpret_cast<const char*>(&head), 3);
    };
    add(0, begin.size(), false);
    out += begin;
    for (; zeros > k_block; zeros -= k_block) {
        add(1, k_block, false);
        out += '\0';
    }
    add(1, zeros, true);
    return out + std::string(1, '\0');
}

bool names(const Findings& findings, std::string_view text) {
    for (const Finding& finding : findings) {
        if (finding.message.find(text) != std::string::npos) return true;
    }
    return false;
}

}  // namespace

TEST_CASE("a million members are not all read: the first that is not is named, and memory is bounded") {
    for (bool same_name : {false, true}) {
        Findings findings;
        uint64_t cost = growth([&] {
            ArchiveSource source(std::make_shared<EndlessTar>(1'000'000, same_name), "", "a million members");
            findings = source.findings();
            CHECK(source.list().size() <= 200'000);
        });
        CHECK(cost < k_memory_limit);
        CHECK(findings.size() < 30);
        CHECK(names(findings, same_name ? "from \"same\" on are not read" : "/member-"));
    }
}

TEST_CASE("a member of 10 GiB in an archive of 1 KiB is cut to what is there, and named") {
    std::string tar = make_header("checkpoint/pages-1.img", uint64_t{10} << 30) + std::string(512, 'p');
    for (const std::string& bytes : {tar, gzip(tar), zstd(tar)}) {
        uint64_t cost = growth([&] {
            ArchiveSource source(std::make_shared<MemoryFile>(bytes), "", "1 KiB");
            CHECK(source.open("checkpoint/pages-1.img")->size() == 512);
            CHECK(names(source.findings(), "\"checkpoint/pages-1.img\" says it has 10737418240 bytes"));
        });
        CHECK(cost < k_memory_limit);
    }
}

TEST_CASE("a bomb of zeros is left at 8 GiB, with the member in which it was named") {
    uint64_t claimed = uint64_t{100} << 30;
    auto bytes =
        std::make_shared<MemoryFile>(zstd_bomb(make_header("pages-1.img", claimed), uint64_t{9} << 30));
    REQUIRE(bytes->size() < 400'000);
    uint64_t cost = growth([&] {
        ArchiveSource source(bytes, "", "a bomb");
        CHECK(names(source.findings(), "\"pages-1.img\" says it has 107374182400 bytes"));
        CHECK(names(source.findings(), "which no checkpoint does"));
    });
    CHECK(cost < k_memory_limit);
}

TEST_CASE("a bomb in a layer within an archive is left there, too") {
    std::string bomb = zstd_bomb(make_header("heap", uint64_t{100} << 30), uint64_t{9} << 30);
    Findings findings;
    uint64_t cost = growth([&] {
        read_file_tree(std::make_shared<MemoryFile>(bomb), "rootfs-diff.tar", Whiteouts::none, findings);
    });
    CHECK(cost < k_memory_limit);
    CHECK(names(findings, "\"heap\" says it has 107374182400 bytes"));
}

TEST_CASE("links and names that lead out of the archive lead nowhere, and are named") {
    std::string tar = member("../../etc/cron.d/x", "x") + member("/etc/passwd", "x") +
                      make_header("checkpoint/inventory.img", 0, '2', "/etc/shadow") +
                      make_header("checkpoint/core-1.img", 0, '1', "../../etc/shadow") +
                      make_header("checkpoint/parent", 0, '2', "../../../etc") +
                      make_header("dir", 0, '2', "/etc") + member("dir/passwd", "ours") +
                      member("checkpoint/pstree.img", "t") + end_of_tar();
    ArchiveSource source(std::make_shared<MemoryFile>(tar), "", "leads out");
    CHECK(source.list() == std::vector<std::string>{"checkpoint/pstree.img", "dir/passwd"});
    CHECK(*read_whole(source, "dir/passwd") == "ours");
    for (const char* name : {"checkpoint/inventory.img", "checkpoint/parent/passwd", "etc/passwd",
                             "../etc/passwd", "/etc/passwd", "checkpoint/core-1.img"}) {
        INFO(name);
        CHECK(source.open(name) == nullptr);
    }
    CHECK(names(source.findings(), "\"../../etc/cron.d/x\""));
    CHECK(names(source.findings(), "\"/etc/passwd\""));
    CHECK(names(source.findings(), "\"checkpoint/core-1.img\" is a hard link that leads out"));
}

TEST_CASE("members that are there twice are named, and the last of them is read") {
    std::string tar = member("checkpoint/pstree.img", "first") +
                      member("checkpoint//./pstree.img", "second") + end_of_tar();
    for (const std::string& bytes : {tar, gzip(tar), zstd(tar)}) {
        ArchiveSource source(std::make_shared<MemoryFile>(bytes), "", "twice");
        CHECK(*read_whole(source, "checkpoint/pstree.img") == "second");
        CHECK(names(source.findings(), "\"checkpoint/pstree.img\" is there more than once"));
    }
}

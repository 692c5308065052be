// Going back: any tree to any earlier one, exactly, and with as little writing as possible.
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/mount.h>

#include <algorithm>
#include <catch2/generators/catch_generators.hpp>
#include <chrono>
#include <random>
#include <thread>

#include "base/error.h"
#include "engine/layer_compare.h"
#include "layer_fixture.h"

using namespace cprewind::engine;
using cprewind::images::FileType;
using cprewind::images::LayerTree;
using Kind = LayerChange::Kind;
namespace base = cprewind::base;
namespace fs = std::filesystem;

namespace {

// Changes a tree at random, all kinds of entries and changes among them.
class Mutator {
 public:
    Mutator(fs::path layer, unsigned seed) : layer_(std::move(layer)), random_(seed) {}

    void mutate(int count) {
        for (int i = 0; i < count; ++i) once();
    }

 private:
    unsigned below(unsigned limit) { return static_cast<unsigned>(random_() % limit); }

    std::vector<fs::path> paths(bool directories_only) {
        std::vector<fs::path> found = {layer_};
        for (auto& entry : fs::recursive_directory_iterator(layer_)) {
            if (!directories_only || entry.symlink_status().type() == fs::file_type::directory) {
                found.push_back(entry.path());
            }
        }
        return found;
    }
    fs::path any(bool directories_only) {
        auto found = paths(directories_only);
        return found[below(static_cast<unsigned>(found.size()))];
    }
    fs::path new_name() { return any(true) / fmt::format("n{}", below(12)); }

    void write_file(const fs::path& path) {
        base::Fd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600));
        struct stat st {};
        if (!fd || ::fstat(fd.get(), &st) != 0 || !S_ISREG(st.st_mode)) return;
        if (below(3) == 0) REQUIRE(::ftruncate(fd.get(), below(200'000)) == 0);
        std::string content(below(5000), static_cast<char>('a' + below(26)));
        base::pwrite_full(fd.get(), base::as_bytes(content), below(2) * below(100'000), "file");
    }

    void once() {
        fs::path path = new_name();
        std::error_code ignored;
        switch (below(14)) {
            case 0:
            case 1:
            case 2:
                write_file(path);
                break;
            case 3:
                fs::create_directory(path, ignored);
                break;
            case 4:
                fs::create_symlink(fmt::format("target{}", below(5)), path, ignored);
                break;
            case 5:
                fs::create_hard_link(any(false), path, ignored);
                break;
            case 6:
                ::mknod(path.c_str(), (below(2) != 0 ? S_IFCHR : S_IFBLK) | 0600, below(3));
                break;
            case 7:
                ::mknod(path.c_str(), (below(2) != 0 ? S_IFIFO : S_IFSOCK) | 0600, 0);
                break;
            case 8:
                path = any(false);
                if (path != layer_) fs::remove_all(path, ignored);
                break;
            case 9:
                if (auto from = any(false); from != layer_) fs::rename(from, path, ignored);
                break;
            case 10:
                REQUIRE(::lchown(any(false).c_str(), below(3), below(3)) == 0);
                break;
            case 11:
                path = any(false);
                if (!fs::is_symlink(path)) REQUIRE(::chmod(path.c_str(), below(010000)) == 0);
                break;
            case 12: {
                std::string value(below(30), 'v');
                ::lsetxattr(any(false).c_str(), below(2) != 0 ? "trusted.overlay.x" : "trusted.y",
                            value.data(), value.size(), 0);
                break;
            }
            default: {
                timespec times[2] = {{0, UTIME_OMIT},
                                     {static_cast<time_t>(below(2'000'000'000)), below(1'000'000'000)}};
                REQUIRE(::utimensat(AT_FDCWD, any(false).c_str(), times, AT_SYMLINK_NOFOLLOW) == 0);
            }
        }
    }

    fs::path layer_;
    std::mt19937 random_;
};

std::vector<std::string> kinds(const std::vector<LayerChange>& changes) {
    std::vector<std::string> lines;
    for (auto& change : changes) {
        lines.push_back(
            fmt::format("{} {} {}", "crmd"[static_cast<int>(change.kind)], change.path, change.bytes));
    }
    return lines;
}

}  // namespace

TEST_CASE("any tree is restored from any other") {
    unsigned seed = GENERATE(1u, 2u, 3u, 4u, 5u, 6u);
    CAPTURE(seed);
    Disk disk;
    Mutator mutator(disk.layer, seed);
    std::vector<Moment> moments;
    for (int i = 0; i < 8; ++i) {
        mutator.mutate(60);
        moments.push_back(disk.capture());
    }
    std::mt19937 random(seed);
    for (int i = 0; i < 16; ++i) {
        // Sometimes from a moment, sometimes from something that was never captured.
        if (i % 3 == 0) mutator.mutate(20);
        const Moment& target = moments[random() % moments.size()];
        auto plan = kinds(plan_layer_restore(disk.layer, target.tree));
        auto done = kinds(disk.restore(target));
        REQUIRE(plan == done);
        REQUIRE(model(disk.capture().tree) == model(target.tree));
        REQUIRE(disk.restore(target).empty());
    }
}

TEST_CASE("only what differs is touched") {
    Disk disk;
    for (const char* name : {"same", "touched", "changed", "chmod", "gone"}) disk.write(name, "0123456789");
    fs::create_directory(disk.layer / "d");
    std::this_thread::sleep_for(std::chrono::milliseconds(150));
    auto moment = disk.capture();
    auto inode = [&](const char* name) { return disk.status(name).st_ino; };
    auto same = inode("same"), touched = inode("touched"), changed = inode("changed");

    disk.write("touched", "0123456789");
    disk.write("changed", "9876543210");
    REQUIRE(::chmod((disk.layer / "chmod").c_str(), 0600) == 0);
    fs::remove(disk.layer / "gone");
    disk.write("new", "x");
    disk.write("d/new", "x");
    CHECK(kinds(disk.restore(moment)) == std::vector<std::string>{"d new 0", "d d/new 0", "m  0",
                                                                  "r changed 10", "m chmod 0", "m d 0",
                                                                  "c gone 10", "m touched 0"});
    CHECK(inode("same") == same);
    CHECK(inode("touched") == touched);
    CHECK(inode("changed") != changed);
    CHECK(model(disk.capture().tree) == model(moment.tree));
}

TEST_CASE("a directory becomes a file and back") {
    Disk disk;
    fs::create_directories(disk.layer / "x/y/z");
    disk.write("x/y/z/file", "deep");
    auto as_directory = disk.capture();
    fs::remove_all(disk.layer / "x");
    disk.write("x", "flat");
    auto as_file = disk.capture();
    for (int i = 0; i < 2; ++i) {
        disk.restore(as_directory);
        CHECK(disk.read("x/y/z/file") == "deep");
        CHECK(model(disk.capture().tree) == model(as_directory.tree));
        disk.restore(as_file);
        CHECK(disk.read("x") == "flat");
        CHECK(model(disk.capture().tree) == model(as_file.tree));
    }
}

TEST_CASE("hard links are joined and parted") {
    Disk disk;
    for (const char* name : {"a", "b", "c", "d"}) disk.write(name, "same");
    auto apart = disk.capture();
    for (const char* name : {"b", "c"}) fs::remove(disk.layer / name);
    fs::create_hard_link(disk.layer / "a", disk.layer / "b");
    fs::create_hard_link(disk.layer / "d", disk.layer / "c");
    auto joined = disk.capture();
    CHECK(disk.status("a").st_ino == disk.status("b").st_ino);
    disk.restore(apart);
    CHECK(model(disk.capture().tree) == model(apart.tree));
    CHECK(disk.status("a").st_nlink == 1);
    disk.restore(joined);
    CHECK(model(disk.capture().tree) == model(joined.tree));
    CHECK(disk.status("a").st_ino == disk.status("b").st_ino);
    CHECK(disk.status("c").st_ino == disk.status("d").st_ino);
    CHECK(disk.status("a").st_ino != disk.status("c").st_ino);
}

TEST_CASE("set-id bits, capabilities and holes survive") {
    Disk disk;
    disk.write("file", std::string(5000, 'x'));
    REQUIRE(::truncate((disk.layer / "file").c_str(), 30 << 20) == 0);
    REQUIRE(::chown((disk.layer / "file").c_str(), 7, 8) == 0);
    REQUIRE(::chmod((disk.layer / "file").c_str(), 06755) == 0);
    // VFS_CAP_REVISION_2 with CAP_NET_RAW, as setcap writes it.
    disk.set_xattr("file", "security.capability",
                   std::string_view("\1\0\0\2\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20));
    auto moment = disk.capture();
    CHECK(entry_of(moment.tree, "file")->xattrs.size() == 1);
    fs::remove(disk.layer / "file");
    disk.restore(moment);
    CHECK(model(disk.capture().tree) == model(moment.tree));
    CHECK(disk.status("file").st_blocks * 512 < 64 * 1024);
}

TEST_CASE("times before 1970 come back to the nanosecond") {
    Disk disk;
    disk.write("old", "x");
    timespec times[2] = {{0, UTIME_OMIT}, {-5, 123'456'789}};
    REQUIRE(::utimensat(AT_FDCWD, (disk.layer / "old").c_str(), times, 0) == 0);
    auto moment = disk.capture();
    CHECK(entry_of(moment.tree, "old")->mtime_ns == -4'876'543'211);
    disk.write("old", "y");
    disk.restore(moment);
    CHECK(model(disk.capture().tree) == model(moment.tree));
}

TEST_CASE("nothing outside the layer is touched through a symbolic link") {
    Disk disk;
    fs::path outside = disk.directory.path() / "outside";
    fs::create_directory(outside);
    base::replace_file(outside / "file", "mine");
    fs::create_directory(disk.layer / "d");
    disk.write("d/file", "theirs");
    auto moment = disk.capture();
    fs::remove_all(disk.layer / "d");
    fs::create_symlink(outside, disk.layer / "d");
    disk.restore(moment);
    CHECK(base::read_file(outside / "file") == "mine");
    CHECK(disk.read("d/file") == "theirs");
    CHECK(model(disk.capture().tree) == model(moment.tree));
}

TEST_CASE("an immutable file is an error that names it, and leaves no temporary file") {
    Disk disk;
    disk.write("stuck", "one");
    auto moment = disk.capture();
    disk.write("stuck", "two");
    base::Fd fd = base::open_file(disk.layer / "stuck", O_RDONLY);
    int flags = FS_IMMUTABLE_FL;
    if (::ioctl(fd.get(), FS_IOC_SETFLAGS, &flags) != 0) SKIP("this file system knows no immutable files");
    try {
        disk.restore(moment);
        FAIL("restored an immutable file");
    } catch (const base::Error& e) {
        CHECK(e.message().find("stuck") != std::string::npos);
        CHECK(e.hint().find("chattr") != std::string::npos);
    }
    flags = 0;
    REQUIRE(::ioctl(fd.get(), FS_IOC_SETFLAGS, &flags) == 0);
    CHECK(std::distance(fs::directory_iterator(disk.layer), {}) == 1);
    disk.restore(moment);
    CHECK(disk.read("stuck") == "one");
}

TEST_CASE("a tree that contradicts itself is refused before anything is touched") {
    Disk disk;
    disk.write("file", "content");
    fs::create_directory(disk.layer / "d");
    fs::create_symlink("x", disk.layer / "link");
    auto moment = disk.capture();
    disk.write("file", "changed");
    auto before = model(disk.capture().tree);
    auto broken = [&](auto change) {
        Moment bad = moment;
        change(bad.tree.entries);
        CHECK_THROWS_AS(disk.restore(bad), base::Error);
        CHECK(model(disk.capture().tree) == before);
    };
    // Entries: "", "d", "file", "link".
    using Entries = std::vector<cprewind::images::LayerEntry>;
    broken([](Entries& e) { e.clear(); });
    broken([](Entries& e) { e.erase(e.begin()); });
    broken([](Entries& e) { std::swap(e[1], e[2]); });
    broken([](Entries& e) { e[1].path = "/etc"; });
    broken([](Entries& e) { e[1].path = ".."; });
    broken([](Entries& e) { e[1].path = "../x"; });
    broken([](Entries& e) { e[1].path = "a/../../x"; });
    broken([](Entries& e) { e[1].path = std::string("a\0b", 3); });
    broken([](Entries& e) { e[2].path = "link"; });
    broken([](Entries& e) { e[3].path = "file/below"; });
    broken([](Entries& e) { e[3].path = "file2/below"; });
    broken([](Entries& e) { e[3].link_target.clear(); });
    broken([](Entries& e) { e[3].hard_link_to = "nothing"; });
    broken([](Entries& e) { e[3].hard_link_to = "file"; });
    broken([](Entries& e) { e[2].size = 3; });
    broken([](Entries& e) { e[2].size = UINT64_MAX; });
    broken([](Entries& e) { e[2].extents[0].data_offset = 1; });
    broken([](Entries& e) { e[2].extents[0].data_offset = UINT64_MAX; });
    broken([](Entries& e) { e[2].extents[0].file_offset = UINT64_MAX; });
    broken([](Entries& e) { e[2].extents[0].length = UINT64_MAX; });
    broken([](Entries& e) { e[2].extents.push_back(e[2].extents[0]); });
}

TEST_CASE("a real overlay's layer goes back and forth under the same lower directory") {
    Disk disk;
    fs::path base = disk.directory.path();
    for (const char* name : {"lower", "work", "merged"}) fs::create_directory(base / name);
    for (const char* name : {"lower/dir/sub", "lower/old"}) fs::create_directories(base / name);
    for (const char* name : {"lower/one", "lower/two", "lower/three", "lower/dir/file", "lower/old/file"})
        base::replace_file(base / name, name);
    std::string options = fmt::format(
        "lowerdir={0}/lower,upperdir={0}/layer,workdir={0}/work,redirect_dir=on,metacopy=on", base.string());
    auto mounted = [&](auto use) {
        REQUIRE(::mount("overlay", (base / "merged").c_str(), "overlay", 0, options.c_str()) == 0);
        try {
            use(base / "merged");
        } catch (...) {
            ::umount2((base / "merged").c_str(), MNT_DETACH);
            throw;
        }
        REQUIRE(::umount((base / "merged").c_str()) == 0);
    };
    auto seen = [&] {
        std::vector<std::string> lines;
        mounted([&](const fs::path& merged) {
            for (auto& entry : fs::recursive_directory_iterator(merged)) {
                lines.push_back(entry.path().string());
                if (entry.is_regular_file()) lines.back() += " " + base::read_file(entry.path());
            }
        });
        std::sort(lines.begin(), lines.end());
        return lines;
    };

    Moment first = disk.capture();
    auto first_seen = seen();
    mounted([](const fs::path& merged) {
        fs::remove(merged / "one");  // whiteout
        base::replace_file(merged / "two", "copied up and replaced");
        fs::remove_all(merged / "dir");
        fs::create_directory(merged / "dir");  // opaque
        base::replace_file(merged / "dir/new", "new");
        REQUIRE(::chmod((merged / "dir").c_str(), 0751) == 0);
        REQUIRE(::chmod((merged / "three").c_str(), 0600) == 0);  // metadata only, data stay below
        REQUIRE(::rename((merged / "old").c_str(), (merged / "moved").c_str()) == 0);  // redirect
    });
    Moment second = disk.capture();
    CHECK(entry_of(second.tree, "one")->is_whiteout());
    CHECK(entry_of(second.tree, "dir")->xattrs.at("trusted.overlay.opaque") == "y");
    CHECK(entry_of(second.tree, "three")->xattrs.contains("trusted.overlay.metacopy"));
    CHECK(entry_of(second.tree, "moved")->xattrs.at("trusted.overlay.redirect") == "old");
    auto second_seen = seen();
    for (int i = 0; i < 2; ++i) {
        disk.restore(first);
        CHECK(model(disk.capture().tree) == model(first.tree));
        CHECK(seen() == first_seen);
        disk.restore(second);
        CHECK(model(disk.capture().tree) == model(second.tree));
        CHECK(seen() == second_seen);
    }
}

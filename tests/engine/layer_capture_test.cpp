// What a capture holds, and that its later passes miss nothing.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <catch2/generators/catch_generators.hpp>
#include <chrono>
#include <thread>

#include "base/error.h"
#include "engine/layer_before.h"
#include "engine/layer_walk.h"
#include "layer_fixture.h"

using namespace cprewind::engine;
using cprewind::images::FileType;
namespace base = cprewind::base;
namespace images = cprewind::images;
namespace fs = std::filesystem;

namespace {

// The content of a file, by its extents.
std::string content_of(const images::LayerEntry& entry, const images::ImageFile& data) {
    std::string content(entry.size, '\0');
    for (const images::LayerExtent& extent : entry.extents) {
        auto part = std::as_writable_bytes(std::span(content)).subspan(extent.file_offset, extent.length);
        CHECK(data.read_at(extent.data_offset, part) == part.size());
    }
    return content;
}

// Longer than the margin within which nothing counts as settled.
void let_settle() {
    std::this_thread::sleep_for(std::chrono::milliseconds(150));
}

}  // namespace

TEST_CASE("every kind of entry is captured with all that belongs to it") {
    Disk disk;
    auto at = [&](const char* name) { return (disk.layer / name).string(); };
    disk.write("file", "content");
    REQUIRE(::chown(at("file").c_str(), 1000, 2000) == 0);
    REQUIRE(::chmod(at("file").c_str(), 06751) == 0);
    disk.set_xattr("file", "user.note", std::string_view("a\0b", 3));
    disk.write("na\nme\xff", "odd");
    fs::create_directory(disk.layer / "opaque");
    disk.set_xattr("opaque", "trusted.overlay.opaque", "y");
    fs::create_directory(disk.layer / "opaque/empty");
    fs::create_symlink("../etc/passwd", disk.layer / "link");
    disk.set_xattr("link", "trusted.overlay.origin", "x");
    REQUIRE(::mknod(at("whiteout").c_str(), S_IFCHR | 0644, 0) == 0);
    REQUIRE(::mknod(at("block").c_str(), S_IFBLK | 0600, makedev(7, 99)) == 0);
    REQUIRE(::mkfifo(at("fifo").c_str(), 0600) == 0);
    REQUIRE(::mknod(at("socket").c_str(), S_IFSOCK | 0600, 0) == 0);
    fs::create_hard_link(disk.layer / "file", disk.layer / "also");

    auto tree = disk.capture().tree;
    REQUIRE(tree.entries.size() == 11);
    CHECK(tree.entries[0].path.empty());
    CHECK(tree.entries[0].type == FileType::directory);
    auto also = entry_of(tree, "also");
    CHECK(also->mode == 06751);
    CHECK(also->uid == 1000);
    CHECK(also->gid == 2000);
    CHECK(also->size == 7);
    CHECK(also->extents.size() == 1);
    CHECK(also->xattrs == std::map<std::string, std::string>{{"user.note", std::string("a\0b", 3)}});
    CHECK(also->digest == base::digest_of(base::as_bytes("content")));
    auto file = entry_of(tree, "file");
    CHECK(file->hard_link_to == "also");
    CHECK(file->extents.empty());
    CHECK(file->digest == also->digest);
    CHECK(entry_of(tree, "na\nme\xff")->size == 3);
    CHECK(entry_of(tree, "opaque")->xattrs.at("trusted.overlay.opaque") == "y");
    CHECK(entry_of(tree, "opaque/empty")->type == FileType::directory);
    CHECK(entry_of(tree, "link")->link_target == "../etc/passwd");
    CHECK(entry_of(tree, "link")->xattrs.at("trusted.overlay.origin") == "x");
    CHECK(entry_of(tree, "whiteout")->is_whiteout());
    CHECK(entry_of(tree, "block")->rdev == makedev(7, 99));
    CHECK(entry_of(tree, "fifo")->type == FileType::fifo);
    CHECK(entry_of(tree, "socket")->type == FileType::socket);
}

TEST_CASE("holes take no place and count as zeros") {
    Disk disk;
    base::Fd fd = base::open_file(disk.layer / "sparse", O_WRONLY | O_CREAT);
    base::pwrite_full(fd.get(), base::as_bytes("begin"), 0, "sparse");
    base::pwrite_full(fd.get(), base::as_bytes("end"), 10u << 20, "sparse");
    REQUIRE(::ftruncate(fd.get(), 20 << 20) == 0);
    base::Fd huge = base::open_file(disk.layer / "huge", O_WRONLY | O_CREAT);
    REQUIRE(::ftruncate(huge.get(), int64_t{1} << 42) == 0);

    auto moment = disk.capture();
    CHECK(held_bytes(moment.tree) < 64 * 1024);
    CHECK(fs::file_size(moment.data) == exact_data_size(moment.tree));
    std::string content(20u << 20, '\0');
    content.replace(0, 5, "begin");
    content.replace(10u << 20, 3, "end");
    CHECK(entry_of(moment.tree, "sparse")->digest == base::digest_of(base::as_bytes(content)));
    // Hashing a hole of 4 TiB would take an hour.
    CHECK(entry_of(moment.tree, "huge")->size == uint64_t{1} << 42);
    CHECK_FALSE(entry_of(moment.tree, "huge")->digest);
}

TEST_CASE("a later pass copies what changed and nothing else") {
    Disk disk;
    for (int i = 0; i < 20; ++i) disk.write(fmt::format("f{}", i), std::string(1000, 'a'));
    fs::create_hard_link(disk.layer / "f3", disk.layer / "g3");
    let_settle();
    LayerCapture capture(disk.layer, disk.fresh_data());
    CHECK(capture.pass() == 20000);
    CHECK(capture.pass() == 0);
    disk.write("f7", "new");
    disk.write("g3", "through the link");
    fs::remove(disk.layer / "f8");
    fs::rename(disk.layer / "f9", disk.layer / "h9");
    REQUIRE(::chmod((disk.layer / "f10").c_str(), 0600) == 0);
    CHECK(capture.pass() == 3 + 16 + 1000 + 1000);
    capture.finish();
    CHECK(fs::file_size(capture.data_path()) == exact_data_size(capture.tree()));
    CHECK(model(capture.tree()) == model(disk.capture().tree));
}

TEST_CASE("what has not changed since the parent snapshot is not read again, and is there all the same") {
    Disk disk;
    std::string log(100'000, 'l');
    for (size_t i = 0; i < log.size(); i += 10) log[i] = static_cast<char>(i / 4096);
    disk.write("a.log", log);
    disk.write("b.rotated", std::string(9'000, 'r'));
    disk.write("big", std::string(50'001, 'b'));
    disk.write("small", "s");
    disk.write("empty", "");
    disk.write("linked", "two names");
    fs::create_hard_link(disk.layer / "linked", disk.layer / "other");
    base::Fd sparse = base::open_file(disk.layer / "sparse", O_WRONLY | O_CREAT);
    base::pwrite_full(sparse.get(), base::as_bytes("end"), 1u << 20, "sparse");
    let_settle();

    auto first = disk.capture();
    auto before = std::make_shared<LayerBefore>();
    before->snapshot = "parent";
    before->tree = first.tree;
    before->data = std::make_shared<DataFile>(first.data);
    disk.write("0.new", "n");  // comes first: everything else moves
    base::Fd append = base::open_file(disk.layer / "a.log", O_WRONLY | O_APPEND);
    base::write_full(append.get(), base::as_bytes("one line more\n"), "a.log");
    fs::rename(disk.layer / "b.rotated", disk.layer / "b.rotated.1");
    let_settle();

    LayerCapture capture(disk.layer, disk.fresh_data(), before);
    CHECK(capture.pass() == 1 + log.size() + 14 + 9'000);  // the renamed one, too: its ctime is another
    CHECK(capture.pass() == 0);
    capture.finish();
    CHECK(model(capture.tree()) == model(disk.capture().tree));
    auto data = capture.data();
    CHECK(data->size() == exact_data_size(capture.tree()));
    for (const images::LayerEntry& entry : capture.tree().entries) {
        INFO(entry.path);
        if (entry.type != FileType::regular || !entry.hard_link_to.empty()) continue;
        CHECK((content_of(entry, *data) == disk.read(entry.path)));
        CHECK(entry.inode != 0);
    }

    // The store is told where all of it was, by path or, for what was renamed, by inode.
    CHECK(capture.data_addresses("another").before.empty());
    uint64_t same = 0, alike = 0;
    for (const auto& run : capture.data_addresses("parent").before) {
        CHECK(run.offset % 4096 == 0);
        CHECK(run.there % 4096 == 0);
        (run.same ? same : alike) += run.bytes;
    }
    CHECK(same == 50'001 + 1 + 9 + 3);
    CHECK(alike == log.size() + 9'000);
}

TEST_CASE("a change in the same tick of the clock as the first pass is seen") {
    Disk disk;
    for (int round = 0; round < 30; ++round) {
        disk.write("file", "first!");
        LayerCapture capture(disk.layer, disk.fresh_data());
        capture.pass();
        disk.write("file", "second");
        capture.pass();
        capture.finish();
        REQUIRE(entry_of(capture.tree(), "file")->digest == base::digest_of(base::as_bytes("second")));
        // And nothing later takes the entry's inode and times for a proof.
        REQUIRE(entry_of(capture.tree(), "file")->inode == 0);
    }
}

TEST_CASE("a store through a mapping that was already dirty is seen") {
    // On tmpfs nothing ever makes the mapping fault again.
    fs::path parent = GENERATE(as<std::string>(), ".", "/dev/shm");
    CAPTURE(parent);
    base::TemporaryDirectory directory(parent, "layer-test-");
    fs::path layer = directory.path() / "layer";
    fs::create_directory(layer);
    base::Fd fd = base::open_file(layer / "mapped", O_RDWR | O_CREAT);
    std::string expected(8192, 'a');
    base::write_full(fd.get(), base::as_bytes(expected), "mapped");
    auto* memory =
        static_cast<volatile char*>(::mmap(nullptr, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0));
    REQUIRE(memory != MAP_FAILED);
    memory[0] = 'b';  // faults and stamps; from now on stores leave no trace
    let_settle();
    LayerCapture capture(layer, directory.path() / "data");
    capture.pass();
    memory[0] = 'c';
    capture.pass();
    capture.finish();
    expected[0] = 'c';
    CHECK(entry_of(capture.tree(), "mapped")->digest == base::digest_of(base::as_bytes(expected)));
    ::munmap(const_cast<char*>(memory), 8192);
}

TEST_CASE("a directory is never opened through a symbolic link or outside the layer") {
    Disk disk;
    fs::create_directories(disk.directory.path() / "outside/below");
    fs::create_directories(disk.layer / "d/below");
    fs::create_symlink("../outside", disk.layer / "link");
    fs::create_symlink("d", disk.layer / "inner");
    base::Fd layer = open_layer(disk.layer);
    CHECK(open_directory(layer.get(), "d/below"));
    CHECK(open_directory(layer.get(), ""));
    for (const char* path :
         {"link", "link/below", "inner", "inner/below", "..", "../outside", "/", "d/../../outside"}) {
        INFO(path);
        CHECK_THROWS_AS(open_directory(layer.get(), path), base::Error);
    }
    fs::create_symlink(disk.layer, disk.directory.path() / "to-layer");
    CHECK_THROWS_AS(open_layer(disk.directory.path() / "to-layer"), base::Error);
}

TEST_CASE("a layer that changes under the walk is captured without an error") {
    Disk disk;
    fs::create_directory(disk.layer / "d");
    fs::path outside = disk.directory.path() / "outside";
    fs::create_directory(outside);
    base::replace_file(outside / "secret", "secret");
    std::jthread churn([&](std::stop_token stop) {
        for (int i = 0; !stop.stop_requested(); ++i) {
            fs::path name = disk.layer / "d" / fmt::format("n{}", i % 7);
            std::error_code ignored;
            switch (i % 5) {
                case 0:
                    fs::create_symlink(outside, name, ignored);
                    break;
                case 1:
                    fs::create_directories(name / "deeper", ignored);
                    break;
                case 2:
                    fs::remove_all(name, ignored);
                    break;
                case 3:
                    fs::remove_all(name, ignored), ::mknod(name.c_str(), S_IFCHR | 0600, makedev(1, 5));
                    break;
                default:
                    if (base::Fd fd{
                            ::open(name.c_str(), O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600)}) {
                        [[maybe_unused]] ssize_t n = ::write(fd.get(), "0123456789", 10);
                    }
            }
        }
    });
    LayerCapture capture(disk.layer, disk.fresh_data());
    auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(500);
    while (std::chrono::steady_clock::now() < end) {
        capture.pass();
        for (auto& entry : capture.tree().entries) REQUIRE_FALSE(entry.path.ends_with("secret"));
    }
    churn.request_stop();
    churn.join();
    capture.pass();
    capture.finish();
    CHECK(model(capture.tree()) == model(disk.capture().tree));
}

TEST_CASE("a path longer than the kernel takes is an error, a deep one is not") {
    Disk disk;
    std::string path;
    fs::path before = fs::current_path();
    fs::current_path(disk.layer);
    int depth = 0;
    for (; path.size() + 2 < 4000; ++depth) {
        fs::create_directory("d");
        fs::current_path("d");
        path += "/d";
    }
    fs::current_path(before);
    LayerCapture capture(disk.layer, disk.fresh_data());
    capture.pass();
    CHECK(capture.tree().entries.size() == static_cast<size_t>(depth) + 1);

    base::Fd deepest(
        ::open((disk.layer.string().substr(0, 0) + disk.layer.string()).c_str(), O_PATH | O_CLOEXEC));
    for (int i = 0; i < depth; ++i) deepest = base::Fd(::openat(deepest.get(), "d", O_PATH | O_CLOEXEC));
    std::string name(200, 'x');
    REQUIRE(::mkdirat(deepest.get(), name.c_str(), 0700) == 0);
    try {
        capture.pass();
        FAIL("captured what no path reaches");
    } catch (const base::Error& e) {
        CHECK(e.kind() == base::ErrorKind::unsupported);
    }
    // remove_all of the fixture cannot reach it either.
    REQUIRE(::unlinkat(deepest.get(), name.c_str(), AT_REMOVEDIR) == 0);
}

// Which mounts are those of a container's layer, and that one shows what was put below it.
#include "engine/overlay_mounts.h"

#include <fmt/format.h>
#include <sys/mount.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>

#include "base/fd.h"

using namespace cprewind::engine;
namespace base = cprewind::base;
namespace fs = std::filesystem;

TEST_CASE("the writable layer is the upper directory of the overlay that is the root") {
    std::string mountinfo =
        "600 500 0:90 / / rw,relatime - overlay overlay "
        "rw,lowerdir=/l/A:/l/B,upperdir=/var/lib/docker/overlay2/x/diff,"
        "workdir=/w\n"
        "601 600 0:91 / /proc rw - proc proc rw\n"
        "602 600 0:92 / /data rw - overlay overlay rw,upperdir=/somewhere/else\n";
    CHECK(root_overlay_option(mountinfo, "upperdir") == "/var/lib/docker/overlay2/x/diff");
    CHECK(root_overlay_option(mountinfo, "workdir") == "/w");
    CHECK_FALSE(root_overlay_option(mountinfo, "nothing"));
}

TEST_CASE("blanks and commas in the path of a layer are decoded") {
    CHECK(root_overlay_option("1 0 0:1 / / rw - overlay o rw,upperdir=/a\\040b\\134c\n", "upperdir") ==
          "/a b\\c");
    CHECK(root_overlay_option("1 0 0:1 / / rw - overlay o rw,upperdir=/a\\,b,x=1\n", "upperdir") == "/a,b");
}

TEST_CASE("of several mounts at the root the last one counts, and it must be an overlay") {
    std::string overlay = "1 0 0:1 / / rw - overlay o rw,upperdir=/one\n";
    CHECK(root_overlay_option(overlay + "2 1 0:2 / / rw - overlay o rw,upperdir=/two\n", "upperdir") ==
          "/two");
    CHECK_FALSE(root_overlay_option(overlay + "2 1 8:1 / / rw - ext4 /dev/sda1 rw\n", "upperdir"));
    CHECK_FALSE(root_overlay_option("", "upperdir"));
    CHECK_FALSE(root_overlay_option("garbage\n - \n1 2 3 / / - overlay", "upperdir"));
}

TEST_CASE("a layer's mounts are told by its path or by Docker's name beside it") {
    std::string mountinfo =
        "1 0 0:1 / /o/x/merged rw - overlay overlay rw,lowerdir=l/A,upperdir=x/diff\n"
        "2 0 0:1 / /run/c\\040d rw - overlay overlay rw,upperdir=/o/x/diff\n"
        "3 0 0:1 / /o/y/merged rw - overlay overlay rw,upperdir=/o/y/diff\n"
        "4 0 0:1 / /o/x/other rw - ext4 /dev/sda rw,upperdir=/o/x/diff\n";
    CHECK(mounts_over(mountinfo, "/o/x/diff") == std::vector<std::string>{"/o/x/merged", "/run/c d"});
}

TEST_CASE("a mount that was left shows what was changed below it") {
    REQUIRE(::geteuid() == 0);  // else nobody can mount
    base::TemporaryDirectory directory("/tmp", "cprewind-overlay-");
    const fs::path& root = directory.path();
    for (const char* name : {"lower", "diff", "work", "merged"}) fs::create_directory(root / name);
    auto options = fmt::format("lowerdir={0}/lower,upperdir={0}/diff,workdir={0}/work", root.string());
    fs::path merged = root / "merged";
    REQUIRE(::mount("overlay", merged.c_str(), "overlay", MS_NOSUID, options.c_str()) == 0);
    base::replace_file(merged / "data", "before");
    CHECK(base::read_file(merged / "data") == "before");
    base::replace_file(root / "diff/data", "after");
    refresh_mounts_over(root / "diff");
    CHECK(base::read_file(merged / "data") == "after");
    auto mounted = base::read_file("/proc/self/mountinfo");
    CHECK(mounted.find(merged.string() + " rw,nosuid") != std::string::npos);
    REQUIRE(::umount2(merged.c_str(), MNT_DETACH) == 0);
}

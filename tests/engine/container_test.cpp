#include "engine/container.h"

#include <catch2/catch_test_macros.hpp>

using namespace cprewind::engine;

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

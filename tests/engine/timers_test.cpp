// Timers that would never tick again after a restore are armed, and no other image changes.
#include "engine/timers.h"

#include <catch2/catch_test_macros.hpp>

#include "base/fd.h"
#include "images/directory_source.h"
#include "images/image_json.h"

using namespace cprewind;
using images::Json;
namespace fs = std::filesystem;

namespace {

// A copy of a fixture, of which one image can be changed.
class Copy {
 public:
    explicit Copy(const char* fixture) {
        fs::copy(fs::path(CPREWIND_FIXTURES) / fixture, path(), fs::copy_options::recursive);
        for (const fs::directory_entry& entry : fs::directory_iterator(path())) {
            if (entry.path().filename().string().starts_with("core-")) core = entry.path().filename();
        }
    }
    const fs::path& path() const { return directory_.path(); }
    Json read(const std::string& name) const {
        images::Findings findings;
        return images::decode_image(*images::DirectorySource(path()).open(name), name, findings);
    }
    void write(const std::string& name, const Json& image) const {
        base::replace_file(path() / name, images::encode_image(image));
    }
    size_t arm() const {
        return engine::arm_expired_timers(path(), images::load_checkpoint(images::DirectorySource(path())));
    }
    std::string core;

 private:
    base::TemporaryDirectory directory_{"/tmp", "cprewind-timers-"};
};

Json& timerfd_of(Json& files) {
    for (Json& entry : files["entries"]) {
        if (entry.contains("tfd")) return entry["tfd"];
    }
    FAIL("the fixture has no timerfd");
    return files;
}

}  // namespace

TEST_CASE("an expired periodic timerfd runs again, and what it has to tell stays the same") {
    Copy copy("states/timerfd");
    Json files = copy.read("files.img");
    std::string before = base::read_file(copy.path() / "files.img");
    CHECK(copy.arm() == 0);
    CHECK(base::read_file(copy.path() / "files.img") == before);

    Json& timer = timerfd_of(files);
    timer["vsec"] = 0u;
    timer["vnsec"] = 0u;
    SECTION("disarmed") {
        copy.write("files.img", files);
        CHECK(copy.arm() == 0);
    }
    SECTION("not periodic") {
        timer["ticks"] = 1u;
        timer["isec"] = 0u;
        copy.write("files.img", files);
        CHECK(copy.arm() == 0);
    }
    SECTION("expired") {
        timer["ticks"] = 3u;
        copy.write("files.img", files);
        CHECK(copy.arm() == 1);
        Json after = copy.read("files.img");
        CHECK(timerfd_of(after)["ticks"] == 2);
        CHECK(timerfd_of(after)["vnsec"] == 1);
        timer["ticks"] = 2u;
        timer["vnsec"] = 1u;
        CHECK(after["entries"] == files["entries"]);
        CHECK(copy.arm() == 0);
    }
}

TEST_CASE("an interval timer whose signal is waiting runs again") {
    Copy copy("states/timers");
    CHECK(copy.arm() == 0);
    Json core = copy.read(copy.core);
    Json& alarm = core["entries"][0]["tc"]["timers"]["real"];
    alarm = {{"isec", 0u}, {"iusec", 300000u}, {"vsec", 0u}, {"vusec", 0u}};
    copy.write(copy.core, core);
    CHECK(copy.arm() == 1);
    alarm["vusec"] = 1u;
    CHECK(copy.read(copy.core)["entries"] == core["entries"]);
}

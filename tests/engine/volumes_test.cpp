#include "engine/volumes.h"

#include <catch2/catch_test_macros.hpp>
#include <fstream>
#include <functional>

#include "base/error.h"
#include "base/fd.h"
#include "images/directory_source.h"

using namespace cprewind::engine;
namespace images = cprewind::images;
namespace base = cprewind::base;
namespace fs = std::filesystem;

namespace {

void write_file(const fs::path& path, std::string_view content) {
    fs::create_directories(path.parent_path());
    std::ofstream(path) << content;
}

// A container with the volume "data" at /data and the directory "kept" at /kept, both below a directory of its own.
struct Scene {
    Scene() : directory(fs::current_path(), "volumes-test-") {
        write_file(data() / "deep" / "file", "in the volume");
        write_file(kept() / "settings", "red");
        fs::create_directory(staging());
        container.name = "web";
        container.raw = {
            {"Mounts",
             {{{"Type", "volume"}, {"Name", "data"}, {"Source", data().string()}, {"Destination", "/data"}},
              {{"Type", "bind"}, {"Source", kept().string()}, {"Destination", "/kept"}},
              {{"Type", "tmpfs"}, {"Source", ""}, {"Destination", "/tmp"}}}}};
    }
    fs::path data() const { return directory.path() / "data"; }
    fs::path kept() const { return directory.path() / "kept"; }
    fs::path staging() const { return directory.path() / "staging"; }

    std::vector<images::StoredVolume> capture(const std::vector<std::string>& names) {
        VolumesCapture capture(choose_volumes(container, {true, names}, {}), staging());
        capture.pass();
        capture.pass();
        capture.finish();
        capture.write_trees();
        return capture.contents();
    }

    base::TemporaryDirectory directory;
    Container container;
};

std::vector<std::string> names_of(const std::vector<images::Volume>& volumes) {
    std::vector<std::string> names;
    for (const images::Volume& volume : volumes) names.push_back(volume.name);
    return names;
}

base::ErrorKind kind_of_failure(const std::function<void()>& act) {
    try {
        act();
    } catch (const base::Error& error) {
        return error.kind();
    }
    FAIL("nothing was thrown");
    return base::ErrorKind::failed;
}

}  // namespace

TEST_CASE("volumes are chosen by wish: all, by name, by place; bind mounts only by name") {
    Scene scene;
    CHECK(choose_volumes(scene.container, {}, {}).empty());
    CHECK(names_of(choose_volumes(scene.container, {true, {}}, {})) == std::vector<std::string>{"data"});
    CHECK(names_of(choose_volumes(scene.container, {true, {"/kept"}}, {})) ==
          std::vector<std::string>{scene.kept().string()});
    CHECK(choose_volumes(scene.container, {true, {"data", "/data", scene.kept().string()}}, {}).size() == 2);
    CHECK(kind_of_failure([&] {
              choose_volumes(scene.container, {true, {"other"}}, {});
          }) == base::ErrorKind::usage);
    CHECK(kind_of_failure([&] {
              choose_volumes(scene.container, {true, {"/tmp"}}, {});
          }) == base::ErrorKind::usage);
}

TEST_CASE("what would change the repository itself, or is no directory, is not captured") {
    Scene scene;
    fs::path repository = scene.data() / "repository";
    fs::create_directory(repository);
    auto choose = [&] { choose_volumes(scene.container, {true, {}}, {repository}); };
    CHECK(kind_of_failure(choose) == base::ErrorKind::unsupported);
    CHECK_NOTHROW(choose_volumes(scene.container, {true, {}}, {scene.directory.path() / "data-beside"}));
    fs::remove_all(scene.data());
    CHECK(kind_of_failure([&] {
              choose_volumes(scene.container, {true, {}}, {});
          }) == base::ErrorKind::unsupported);
    write_file(scene.data(), "a file");
    CHECK(kind_of_failure([&] {
              choose_volumes(scene.container, {true, {}}, {});
          }) == base::ErrorKind::unsupported);
}

TEST_CASE("what was captured is read back from the staging directory, restored, and extracted elsewhere") {
    Scene scene;
    auto contents = scene.capture({"data", "/kept"});
    REQUIRE(contents.size() == 2);
    images::Findings findings;
    auto loaded = images::load_volumes(images::DirectorySource(scene.staging()), findings);
    CHECK(findings.empty());
    REQUIRE(loaded.size() == 2);
    CHECK(images::title_of(loaded[0].volume) == "volume data");
    CHECK(loaded[1].volume.kind == images::VolumeKind::bind);
    CHECK(loaded[1].volume.destination == "/kept");

    write_file(scene.data() / "deep" / "file", "changed meanwhile");
    write_file(scene.data() / "new", "new");
    write_file(scene.kept() / "settings", "green");
    // The kernel's clock for files ticks every few milliseconds: "new" alone may leave the directory's time as it was.
    fs::last_write_time(scene.data(), fs::last_write_time(scene.data()) + std::chrono::hours(1));
    auto targets = place_volumes(scene.container, loaded);
    CHECK(plan_volumes(targets)[1].changes.size() == 1);
    auto changes = restore_volumes(targets);
    std::vector<std::string> changed;
    for (const LayerChange& change : changes[0].changes) changed.push_back(change.path);
    CHECK(changed == std::vector<std::string>{"new", "", "deep/file"});
    CHECK(base::read_file(scene.data() / "deep" / "file") == "in the volume");
    CHECK_FALSE(fs::exists(scene.data() / "new"));
    CHECK(base::read_file(scene.kept() / "settings") == "red");
    CHECK(restore_volumes(targets)[0].changes.empty());

    extract_volume(loaded[0], scene.directory.path() / "elsewhere");
    CHECK(base::read_file(scene.directory.path() / "elsewhere" / "deep" / "file") == "in the volume");
    CHECK(kind_of_failure([&] { extract_volume(loaded[0], scene.data()); }) == base::ErrorKind::usage);
}

TEST_CASE("a volume goes to where the container has it today, never to where the snapshot says it was") {
    Scene scene;
    auto contents = scene.capture({});
    contents[0].volume.source = "/etc";
    auto targets = place_volumes(scene.container, contents);
    CHECK(targets[0].directory == fs::canonical(scene.data()));
    CHECK(volumes_at(targets)[0].source == fs::canonical(scene.data()).string());
    CHECK(untouched_volumes(scene.container, targets).size() == 1);
    scene.container.raw["Mounts"].erase(0);
    CHECK(kind_of_failure([&] { place_volumes(scene.container, contents); }) == base::ErrorKind::unsupported);
}

TEST_CASE("a damaged volume is told, and never restored from") {
    Scene scene;
    scene.capture({});
    fs::path tree = scene.staging() / images::volume_tree_name(0);
    fs::resize_file(scene.staging() / images::volume_data_name(0), 3);
    images::Findings findings;
    auto loaded = images::load_volumes(images::DirectorySource(scene.staging()), findings);
    REQUIRE(loaded.size() == 1);
    CHECK(findings.size() == 1);
    findings.clear();
    fs::resize_file(tree, fs::file_size(tree) - 5);
    images::load_volumes(images::DirectorySource(scene.staging()), findings);
    CHECK_FALSE(findings.empty());
    findings.clear();
    fs::remove(scene.staging() / images::volume_data_name(0));
    loaded = images::load_volumes(images::DirectorySource(scene.staging()), findings);
    CHECK(loaded[0].data == nullptr);
    CHECK_FALSE(findings.empty());
}

#include "inspect/container_files.h"

#include <catch2/catch_test_macros.hpp>

#include "images/directory_source.h"
#include "tests/images/image_builder.h"

using namespace cprewind::inspect;
namespace images = cprewind::images;

namespace {

std::string content(const ContainerFiles::Found& found) {
    if (!found.file) return "(" + found.why_not + ")";
    std::string out(found.file->size(), '\0');
    out.resize(found.file->read_at(0, std::as_writable_bytes(std::span(out))));
    return out;
}

images::LayerEntry entry(const char* path, images::FileType type) {
    images::LayerEntry out;
    out.path = path;
    out.type = type;
    return out;
}

}  // namespace

TEST_CASE("the writable layer goes before the container image, and what it removed is gone") {
    images::DirectorySource source(CPREWIND_FIXTURES "/states/deleted");
    images::Checkpoint checkpoint = images::load_checkpoint(source);
    images::LayerTree layer;
    layer.entries.push_back(entry("", images::FileType::directory));
    layer.entries.push_back(entry("changed", images::FileType::regular));
    layer.entries.back().size = 5;
    layer.entries.back().extents.push_back({0, 10, 5});
    layer.entries.push_back(entry("gone", images::FileType::character_device));
    layer.entries.push_back(entry("linked", images::FileType::regular));
    layer.entries.back().hard_link_to = "changed";
    layer.entries.push_back(entry("new", images::FileType::directory));
    layer.entries.back().xattrs["trusted.overlay.opaque"] = "y";
    auto data = std::make_shared<images::test::MemoryFile>("0123456789layer");
    auto image = [](const std::string& path) -> std::unique_ptr<images::ImageFile> {
        return path == "/absent" ? nullptr : std::make_unique<images::test::MemoryFile>("image");
    };
    images::Findings findings;
    ContainerFiles files({checkpoint, source}, &layer, data, {image}, findings);
    CHECK(findings.empty());
    CHECK(content(files.open("/changed")) == "layer");
    CHECK(content(files.open("/linked")) == "layer");
    CHECK(content(files.open("/other")) == "image");
    CHECK(content(files.open("/gone")).find("removed") != std::string::npos);
    CHECK(content(files.open("/gone/below")).find("removed") != std::string::npos);
    CHECK(content(files.open("/new/below")).find("removed") != std::string::npos);
    CHECK(content(files.open("/newer")) == "image");
    CHECK(content(files.open("/absent")).find("neither") != std::string::npos);

    // Both files of this state were deleted while open: the container image has others under their names.
    size_t deleted = 0;
    for (const auto& [id, file] : checkpoint.files) {
        if (!file.deleted) continue;
        ++deleted;
        CHECK(content(files.open_mapped(file.path, id)) != "image");
        CHECK(files.open_mapped(file.path, id).file);
    }
    CHECK(deleted == 2);
}

TEST_CASE("of a file on a mount the layer has only the empty place that it is mounted on") {
    images::DirectorySource source(CPREWIND_FIXTURES "/states/deleted");
    images::Checkpoint checkpoint = images::load_checkpoint(source);
    checkpoint.mounts.clear();
    for (const char* point : {"/", "/bin/tool", "/data"}) {
        images::Mount mount;
        mount.mountpoint = point;
        mount.filesystem = "ext4";
        checkpoint.mounts.push_back(mount);
    }
    images::LayerTree layer;
    layer.entries.push_back(entry("bin/tool", images::FileType::regular));
    layer.entries.push_back(entry("bin/tools", images::FileType::regular));
    layer.entries.push_back(entry("data", images::FileType::character_device));
    auto sysroot = [](const std::string& path) -> std::unique_ptr<images::ImageFile> {
        return path == "/data/absent" ? nullptr : std::make_unique<images::test::MemoryFile>("given");
    };
    images::Findings findings;
    ContainerFiles files({checkpoint, source}, &layer, nullptr, {sysroot}, findings);
    CHECK(content(files.open("/bin/tool")) == "given");
    CHECK(content(files.open("/bin/tools")).empty());
    CHECK(content(files.open("/data/x")) == "given");
    CHECK(content(files.open("/data/absent")).find("on the mount at /data (ext4)") != std::string::npos);
}

#include "images/oci_layout.h"

#include <fmt/format.h>
#include <google/protobuf/any.pb.h>

#include <catch2/catch_test_macros.hpp>

#include "base/digest.h"
#include "base/error.h"
#include "base/fd.h"
#include "images/checkpoint.h"
#include "images/open_source.h"
#include "tests/images/image_builder.h"
#include "tests/images/tar_builder.h"

using namespace cprewind::images;
using namespace cprewind::images::test;
namespace base = cprewind::base;
namespace fs = std::filesystem;

namespace {

const std::string k_ctr = CPREWIND_FIXTURES "/archives/ctr.tar";
const std::string k_type = "application/vnd.containerd.container.";

// A layout in memory; blobs are named for their content.
struct Layout {
    MemorySource source;

    std::string add(const std::string& content) {
        std::string hex = base::digest_of(base::as_bytes(content)).hex();
        source.files["blobs/sha256/" + hex] = content;
        return "sha256:" + hex;
    }
    std::string descriptor(const std::string& type, const std::string& content) {
        return fmt::format(R"({{"mediaType":"{}","digest":"{}","size":{}}})", type, add(content),
                           content.size());
    }
    void set_index(const std::string& descriptors) {
        source.files["index.json"] = fmt::format(R"({{"manifests":[{}]}})", descriptors);
    }
    std::unique_ptr<ImageSource> open(Findings& findings) const {
        auto root = find_oci_layout(source);
        REQUIRE(root);
        return open_oci_checkpoint(source, *root, {}, findings);
    }
};

std::string checkpoint_tar(const std::string& prefix = "") {
    return member(prefix + "inventory.img", "x") + member(prefix + "pstree.img", "y") + end_of_tar();
}

std::string manifest_of(Layout& layout, const std::string& layer) {
    return fmt::format(
        R"({{"layers":[{}],"annotations":{{"io.podman.annotations.checkpoint.name":"web",
            "io.podman.annotations.checkpoint.podman.version":"5.8.6",
            "io.podman.annotations.checkpoint.rawImageName":"busybox"}}}})",
        layout.descriptor("application/vnd.oci.image.layer.v1.tar+gzip", layer));
}

void check_ctr(const fs::path& path) {
    INFO(path);
    OpenedSource opened = open_source(path);
    CHECK(opened.findings.empty());
    Checkpoint checkpoint = load_checkpoint(*opened.images);
    CHECK(checkpoint.findings.empty());
    REQUIRE(checkpoint.processes.size() == 2);
    CHECK(checkpoint.processes[0].comm == "sh");
    const Origin& origin = opened.origin;
    CHECK(origin.engine == OriginEngine::containerd);
    CHECK(origin.container_name == "web");
    CHECK(origin.container_image == "docker.io/library/busybox:latest");
    CHECK(origin.runtime == "io.containerd.runc.v2");
    REQUIRE(origin.command.size() == 3);
    CHECK(origin.command[0] == "sh");
    CHECK(origin.checkpointed_by_file);
    REQUIRE(opened.layer);
    bool whiteout = false, grown = false;
    for (const LayerEntry& entry : opened.layer->tree.entries) {
        whiteout = whiteout || (entry.path == "etc/passwd" && entry.type == FileType::character_device);
        grown = grown || (entry.path == "newfile" && entry.size == 6);
    }
    CHECK(whiteout);
    CHECK(grown);
}

}  // namespace

TEST_CASE("a checkpoint that ctr exported is read in place, plain, compressed and as a directory") {
    check_ctr(k_ctr);
    base::TemporaryDirectory directory("/tmp", "cprewind-test-");
    std::string bytes = base::read_file(k_ctr, 1u << 20);
    base::replace_file(directory.path() / "ctr.tar.zst", zstd(bytes));
    base::replace_file(directory.path() / "ctr.tar.gz", gzip(bytes));
    check_ctr(directory.path() / "ctr.tar.zst");
    check_ctr(directory.path() / "ctr.tar.gz");
    ArchiveSource archive(std::make_shared<MemoryFile>(bytes), "", "ctr.tar");
    fs::path layout = directory.path() / "layout";
    fs::create_directories(layout / "blobs/sha256");
    for (const std::string& name : archive.list())
        base::replace_file(layout / name, *read_whole(archive, name));
    check_ctr(layout);
}

TEST_CASE("a checkpoint image has its members in a layer, and its origin in annotations") {
    std::string members = member("checkpoint/inventory.img", "x") + member("checkpoint/pstree.img", "y") +
                          member("config.dump", R"({"id":"c0ffee"})") + end_of_tar();
    for (const std::string& layer : {members, gzip(members), zstd(members)}) {
        Layout layout;
        std::string manifest = manifest_of(layout, layer);
        layout.set_index(layout.descriptor("application/vnd.oci.image.manifest.v1+json", manifest));
        Findings findings;
        auto source = layout.open(findings);
        CHECK(findings.empty());
        REQUIRE(source);
        REQUIRE(find_checkpoint(*source));
        CHECK(*find_checkpoint(*source) == "checkpoint/");
        Origin origin = read_origin(*source, "checkpoint/", findings);
        CHECK(origin.engine == OriginEngine::podman);
        CHECK(origin.engine_version == "5.8.6");
        CHECK(origin.container_name == "web");
        CHECK(origin.container_image == "busybox");
        CHECK(origin.container_id == "c0ffee");
    }
}

TEST_CASE("an image that docker save or podman save wrote in the older form is read") {
    MemorySource source;
    source.files["manifest.json"] = R"([{"Config":"c.json","RepoTags":["x:1"],"Layers":["l/layer.tar"]}])";
    source.files["l/layer.tar"] = checkpoint_tar("checkpoint/");
    Findings findings;
    auto opened = open_oci_checkpoint(source, "", {}, findings);
    REQUIRE(opened);
    CHECK(read_whole(*opened, "checkpoint/pstree.img"));
    CHECK(findings.empty());
}

TEST_CASE("the image of the container beside a checkpoint is not taken for one") {
    Layout layout;
    std::string manifest = manifest_of(layout, checkpoint_tar());
    std::string index = fmt::format(
        R"({{"manifests":[{},{},{}],"annotations":{{"image.name":"busybox:1"}}}})",
        layout.descriptor("application/vnd.oci.image.manifest.v1+json", manifest),
        layout.descriptor(k_type + "criu.checkpoint.criu.tar", member("pstree.img", "real") + end_of_tar()),
        layout.descriptor(k_type + "checkpoint.options.v1+proto", "options"));
    layout.set_index(layout.descriptor("application/vnd.oci.image.index.v1+json", index));
    Findings findings;
    auto source = layout.open(findings);
    REQUIRE(source);
    CHECK(findings.empty());
    CHECK(*read_whole(*source, "checkpoint/pstree.img") == "real");
    CHECK(source->open("checkpoint/inventory.img") == nullptr);
    Origin origin = read_origin(*source, "checkpoint/", findings);
    CHECK(origin.container_image == "busybox:1");
    REQUIRE(origin.parts.size() == 2);
    CHECK(origin.parts[0].name == "ctr.checkpoint.options.v1+proto");
    CHECK(origin.parts[1].name == "index.json");
}

TEST_CASE("of several checkpoints in a layout the first is read, and it is said that there are more") {
    Layout layout;
    std::string indexes;
    for (const char* content : {"one", "two"}) {
        std::string index = fmt::format(R"({{"manifests":[{}]}})",
                                        layout.descriptor(k_type + "criu.checkpoint.criu.tar",
                                                          member("pstree.img", content) + end_of_tar()));
        indexes += (indexes.empty() ? "" : ",") +
                   layout.descriptor("application/vnd.oci.image.index.v1+json", index);
    }
    layout.set_index(indexes);
    Findings findings;
    auto source = layout.open(findings);
    REQUIRE(source);
    CHECK(*read_whole(*source, "checkpoint/pstree.img") == "one");
    REQUIRE(findings.size() == 1);
    CHECK(findings[0].kind == FindingKind::unknown);
}

TEST_CASE("a blob that is absent, of another size or of another content is a finding that names it") {
    Layout layout;
    std::string checkpoint = layout.descriptor(k_type + "criu.checkpoint.criu.tar", checkpoint_tar());
    std::string options = layout.descriptor(k_type + "checkpoint.options.v1+proto", "options");
    std::string hex = base::digest_of(base::as_bytes(std::string_view("options"))).hex();
    layout.set_index(checkpoint + "," + options);
    auto findings_of = [&] {
        Findings findings;
        REQUIRE(layout.open(findings));
        return findings;
    };
    CHECK(findings_of().empty());
    std::string& blob = layout.source.files["blobs/sha256/" + hex];
    blob = "optionz";
    REQUIRE(findings_of().size() == 1);
    CHECK(findings_of()[0].kind == FindingKind::damaged);
    CHECK(findings_of()[0].file == "blobs/sha256/" + hex);
    blob = "opt";
    REQUIRE(findings_of().size() == 2);
    CHECK(findings_of()[0].kind == FindingKind::truncated);
    layout.source.files.erase("blobs/sha256/" + hex);
    REQUIRE(findings_of().size() == 1);
    CHECK(findings_of()[0].kind == FindingKind::absent);
}

TEST_CASE("digests that are paths, indexes in circles and too many descriptors end in findings") {
    Layout layout;
    layout.source.files["etc/passwd"] = "secret";
    layout.set_index(R"({"mediaType":"x","digest":"sha256:../../etc/passwd","size":6})");
    Findings findings;
    CHECK(layout.open(findings) == nullptr);
    REQUIRE(findings.size() == 1);
    CHECK(findings[0].message.find("no digest") != std::string::npos);

    std::string self =
        R"({"mediaType":"application/vnd.oci.image.index.v1+json","digest":"sha256:00","size":1})";
    layout.set_index(self + "," + self);
    layout.source.files["blobs/sha256/00"] = layout.source.files["index.json"];
    findings.clear();
    CHECK(layout.open(findings) == nullptr);
    bool circle = false;
    for (const Finding& finding : findings)
        circle = circle || finding.message.find("more than 20 indexes") != std::string::npos;
    CHECK(circle);

    std::string many = self;
    for (int i = 0; i < 1500; ++i) many += "," + self;
    layout.set_index(many);
    findings.clear();
    CHECK(layout.open(findings) == nullptr);
    bool said = false;
    for (const Finding& finding : findings)
        said = said || finding.message.find("more than 1000 descriptors") != std::string::npos;
    CHECK(said);
}

TEST_CASE("a layout without a checkpoint is refused, and so is a checkpoint that is no archive") {
    base::TemporaryDirectory directory("/tmp", "cprewind-test-");
    Layout layout;
    std::string manifest = manifest_of(layout, member("bin/sh", "x") + end_of_tar());
    layout.set_index(layout.descriptor("application/vnd.oci.image.manifest.v1+json", manifest));
    Findings findings;
    CHECK(layout.open(findings) == nullptr);
    CHECK(findings.empty());

    layout.set_index(layout.descriptor(k_type + "criu.checkpoint.criu.tar", "no archive at all"));
    CHECK_THROWS_AS(layout.open(findings), base::Error);
}

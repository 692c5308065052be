// OCI layouts, and everything that lies beside the images of an archive: JSON of engines, layers, deleted files.
#include "images/oci_layout.h"

#include "images/open_source.h"
#include "tests/fuzz/fuzz.h"

using namespace cprewind;

namespace {

void look_around(const images::ImageSource& source) {
    images::Findings findings;
    auto prefix = images::find_checkpoint(source);
    images::read_origin(source, prefix ? *prefix : "checkpoint/", findings);
    images::Origin docker;
    images::add_docker_origin(source, docker, findings);
    images::LayerTree tree;
    if (auto layer = source.open("rootfs-diff.tar")) {
        tree = images::read_file_tree(std::move(layer), "layer", images::Whiteouts::oci, findings).tree;
    }
    if (auto deleted = images::read_whole(source, "deleted.files"))
        images::apply_deleted_files(tree, *deleted, "deleted.files", findings);
    std::string once = images::encode_layer(tree);
    images::parse_layer(once, UINT64_MAX, findings);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    auto source = fuzz::files_of(fuzz::text_of(data, size));
    fuzz::allow_refusal([&] { look_around(source); });
    fuzz::allow_refusal([&] {
        auto root = images::find_oci_layout(source);
        if (!root) return;
        images::Findings findings;
        auto visit = [&](const std::string& name, const auto& content) {
            if (name.ends_with(".tar"))
                images::read_file_tree(content, name, images::Whiteouts::none, findings);
        };
        auto checkpoint = images::open_oci_checkpoint(source, *root, visit, findings);
        if (!checkpoint) return;
        for (const std::string& name : checkpoint->list())
            fuzz::must(checkpoint->open(name) != nullptr, "what is listed can be opened");
        look_around(*checkpoint);
    });
    return 0;
}

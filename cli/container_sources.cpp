#include "cli/container_sources.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "engine/snapshot_files.h"

namespace cprewind::cli {
namespace {

// Directories of overlay2, uppermost first, as Docker told them when the snapshot was taken. A snapshot may have come
// from elsewhere: nothing but what looks like a layer of an engine is believed.
std::vector<std::string> layers_of_image(const Subject& subject) {
    std::vector<std::string> out;
    if (!subject.record) return out;
    auto text = images::read_whole(*subject.files, engine::k_container_file, 16u << 20);
    if (!text) return out;
    auto document = nlohmann::json::parse(*text, nullptr, false);
    if (document.is_array() && !document.empty()) document = document[0];
    const nlohmann::json::json_pointer place("/GraphDriver/Data/LowerDir");
    if (!document.is_object() || !document.contains(place) || !document[place].is_string()) return out;
    for (std::string& path : base::split(document[place].get<std::string>(), ':')) {
        bool plausible = path.starts_with('/') && path.find("/overlay2/") != std::string::npos &&
                         path.ends_with("/diff") && path.find("/../") == std::string::npos;
        if (plausible) out.push_back(std::move(path));
    }
    return out;
}

}  // namespace

ContainerSources::ContainerSources(const Subject& subject, const std::string& sysroot,
                                   images::Findings& findings) {
    if (!sysroot.empty()) roots_.push_back(std::make_unique<Sysroot>(sysroot));
    for (const std::string& path : layers_of_image(subject)) {
        try {
            roots_.push_back(std::make_unique<Sysroot>(path));
        } catch (const base::Error&) {
            // The container image is gone, or not ours to read: then its files are not at hand.
        }
    }
    std::vector<inspect::ContainerFiles::Directory> directories;
    for (const auto& root : roots_)
        directories.emplace_back([&root = *root](const std::string& path) { return root.open(path); });
    files_ = std::make_unique<inspect::ContainerFiles>(
        subject.moment(), subject.layer ? &*subject.layer : nullptr,
        std::shared_ptr<const images::ImageFile>(subject.files->open(engine::k_layer_data)),
        std::move(directories), findings);
}

}  // namespace cprewind::cli

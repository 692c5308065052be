// Files that processes had mapped or ran, as the container saw them at that moment: deleted ones lie in the checkpoint,
// changed ones in the writable layer, the rest in directories that stand for the container image. Of a file on a mount (a
// volume, one file bound over another) the layer has at most the empty place that it is mounted on.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "images/ghosts.h"
#include "images/layer.h"
#include "inspect/moment.h"

namespace cprewind::inspect {

class ContainerFiles {
 public:
    // A regular file below a directory that stands for the container's root; null when there is none.
    using Directory = std::function<std::unique_ptr<images::ImageFile>(const std::string& path)>;

    // `layer` and `layer_data` may be null; all of it must outlive this.
    ContainerFiles(Moment moment, const images::LayerTree* layer,
                   std::shared_ptr<const images::ImageFile> layer_data, std::vector<Directory> directories,
                   images::Findings& findings);

    // Either the file, or why not.
    struct Found {
        std::unique_ptr<images::ImageFile> file;
        std::string why_not;  // "it was deleted, …", one clause
    };
    // Of a mapping or an executable. A file of another size than the one that was mapped is not it.
    Found open_mapped(const std::string& path, std::optional<uint32_t> file_id) const;
    // Of any path; what was deleted is not found. Of no known size.
    Found open(const std::string& path) const;

 private:
    std::unique_ptr<images::ImageFile> open_ghost(uint32_t file_id) const;
    // Nothing when the layer does not know it, and what lies beneath counts.
    std::optional<Found> open_in_layer(const std::string& path) const;

    Moment moment_;
    std::map<std::string, const images::LayerEntry*> layer_;  // by path, with "/"
    std::vector<std::string> opaque_;  // directories that hide what lies below, with "/"
    std::shared_ptr<const images::ImageFile> layer_data_;
    std::vector<Directory> directories_;
    std::vector<images::Ghost> ghosts_;
};

}  // namespace cprewind::inspect

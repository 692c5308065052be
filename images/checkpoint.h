// From a source of images to the model: reads every image we know and puts the pieces together.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "images/image_kinds.h"
#include "images/image_source.h"
#include "images/model.h"

namespace cprewind::images {

// Loads all but the memory itself. What is absent, cut off or contradictory becomes a finding and the rest is
// loaded all the same; the tree of a hostile pstree.img is made a tree. Throws only what the source throws.
Checkpoint load_checkpoint(const ImageSource& source);

// Whether load_checkpoint and the views of memory are made of images of this kind; others are only checked.
bool is_in_model(const ImageKind& kind);

// Whether `source` looks like a checkpoint at all: it has an inventory.img or a pstree.img.
bool is_checkpoint(const ImageSource& source);

// A view of the files of `source` below `prefix` ("images/"), under their names without it. `source` must
// outlive it.
class PrefixedSource : public ImageSource {
 public:
    PrefixedSource(const ImageSource& source, std::string prefix)
        : source_(source), prefix_(std::move(prefix)) {}

    std::vector<std::string> list() const override;
    std::unique_ptr<ImageFile> open(std::string_view name) const override;
    std::optional<int64_t> modified_ns(std::string_view name) const override {
        return source_.modified_ns(prefix_ + std::string(name));
    }
    std::string describe() const override { return source_.describe(); }

 private:
    const ImageSource& source_;
    std::string prefix_;
};

}  // namespace cprewind::images

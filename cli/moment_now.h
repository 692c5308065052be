// "web@now": the present of a running container as a side of a comparison.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "cli/subject.h"
#include "engine/freeze.h"

namespace cprewind::cli {

// Opens what open_subject() opens, and CONTAINER@now, for which the container stands still for a moment. Keeps what was
// taken; it is dropped with this, so this has to outlive the subjects.
class MomentNow {
 public:
    explicit MomentNow(Context& context) : context_(context) {}
    static bool is_now(const std::string& reference);
    // `volumes`: what to capture of a present, for its comparison with a past.
    Subject open(const std::string& reference, const engine::VolumeWish& volumes = {});

 private:
    Context& context_;
    std::vector<engine::FrozenMoment> taken_;
};

}  // namespace cprewind::cli

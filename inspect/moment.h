// What every view starts from: the model of a checkpoint and the images it came from (for memory). Views are
// pure: they read these two and return plain structs; cli renders them as text and as JSON.
#pragma once

#include "images/checkpoint.h"

namespace cprewind::inspect {

// Two references, no ownership: pass it by value, keep what it refers to alive.
struct Moment {
    const images::Checkpoint& checkpoint;
    const images::ImageSource& source;
};

}  // namespace cprewind::inspect

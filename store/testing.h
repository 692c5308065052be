// Lets a test stop or kill a writer at a named step of a commit or a removal. Null, and so free, everywhere
// else.
#pragma once

namespace cprewind::store::testing {

inline void (*at_step)(const char* step) = nullptr;

inline void reached(const char* step) {
    if (at_step != nullptr) at_step(step);
}

}  // namespace cprewind::store::testing

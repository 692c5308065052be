// The file `format`: what makes a directory a repository, and which version of one.
#pragma once

#include <string>

#include "store/layout.h"

namespace cprewind::store {

// The file's text for a new repository, with an id of its own.
std::string make_format();

// Errors: not_found (no repository), unsupported (a newer format: which, and which is understood), damaged.
void check_format(const Layout& layout);

// Before anything is written that a cprewind of an older format would not understand.
void raise_format(const Layout& layout);

}  // namespace cprewind::store

// Telling what dead writers left from what living ones are at, and removing the former.
#pragma once

#include "base/fd.h"
#include "store/catalog.h"
#include "store/layout.h"

namespace cprewind::store {

enum class Owner { none, alive, dead };  // none: there is no such file

// Whether a writer holds its lock on the file. When dead and `held` is given, we hold the lock from now on.
Owner owner_of(const std::filesystem::path& path, base::Fd* held = nullptr);

// The owner of a pending write, wherever between tmp/ and packs/ its file is just now.
Owner owner_of(const Layout& layout, const Pending& pending);

// Removes rows and files of dead writers and half-done removals. Safe beside living writers and removers.
void tidy(const Layout& layout, const Catalog& catalog);

}  // namespace cprewind::store

// A rewind for a container that cannot be restored in place, because it was created under a runtime that restores
// nothing: a new container of the same name and configuration under ours takes its place. The old one is kept under
// another name until the new one has proven right, and put back when it has not.
//
// Where nothing of the old one stands in the new one's way (published ports, addresses that the user fixed, the host's
// network), the old one merely stays frozen meanwhile: putting it back costs nothing and cannot fail. Otherwise it is
// killed, and going back means a new container, too.
#pragma once

#include <filesystem>
#include <string>

#include "engine/clone.h"
#include "engine/container.h"
#include "engine/journal.h"
#include "engine/put_back.h"

namespace cprewind::engine {

// The label by which the new container says whose snapshots are its own: ids, separated by commas.
inline constexpr const char* k_recreated_label = "cprewind.recreated-from";

// The name under which cprewind-runtime is registered with Docker. Errors: unavailable, with how to register it.
std::string our_runtime(DockerClient& docker);

// `name`-before-rewind-`first digits of the id`.
std::string backup_name_of(const Container& container);

// The old container can stay frozen while the new one runs.
bool can_stay_frozen(const Container& container);

// Takes the old one's name away, makes the new one and puts `target` in it. The old one must be frozen or stopped.
// `journal` has `recreates`. Returns the scene of the new one; `done` is what was put back.
Scene recreate(DockerClient& docker, const Container& old, const Target& target, Journal& journal,
               PutBack& done);

// The new one is right: the old one goes, its volumes stay.
void finish_recreate(DockerClient& docker, const JournalEntry& entry);

// Back: the new one goes, the old one has its name again and runs where it stood. `before`: where it stood; for an old
// one that is not alive any more.
void undo_recreate(DockerClient& docker, const Target& before, Journal& journal);

}  // namespace cprewind::engine

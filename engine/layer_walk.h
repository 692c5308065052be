// Walking a writable layer safely. The tree belongs to a container that may be hostile and may be running, so
// no path is ever resolved through a symbolic link or out of the layer, and nothing but a regular file is
// ever opened for reading: a device node in the layer is a real device to us, and opening one can have
// effects.
#pragma once

#include <sys/stat.h>

#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>

#include "base/fd.h"
#include "images/layer.h"

namespace cprewind::engine {

base::Fd open_layer(const std::filesystem::path& layer);

// Opens the directory `path` of the layer ("" is the layer itself). Throws; not_found when it is not there or
// a part of the path has become something else.
base::Fd open_directory(int layer, const std::string& path);

// A name met by the walk.
struct Met {
    int parent = -1;   // its directory; for the root, the root
    std::string name;  // "." for the root
    std::string path;
    struct stat st {};
};

// Calls `visit` for the root and for everything below, a directory before what it holds, in no particular
// order otherwise. What vanishes while we look is left out. Throws (unsupported) where a directory's path is
// longer than the kernel takes.
void walk_layer(int layer, const std::function<void(const Met&)>& visit);

// A handle (O_PATH) to exactly the inode that `entry` describes.
struct Held {
    base::Fd handle;
    images::LayerEntry entry;  // all but data, digest and hard links
};
// Nothing when the name is gone meanwhile, or another inode's.
std::optional<Held> hold(const Met& met);

// Reads size and times again.
void refresh(Held& held);

// Opens the regular file behind an O_PATH handle for reading, without leaving a trace in its access time.
base::Fd open_held(const Held& held);

// "/proc/self/fd/N": the way to calls that have no variant for an O_PATH handle.
std::string handle_path(int handle);

std::map<std::string, std::string> read_xattrs(int handle, const std::string& name);

int64_t nanoseconds(const timespec& time);

std::string parent_of(const std::string& path);
std::string name_in_parent(const std::string& path);

// What a message calls an entry: the path, fit for a terminal.
std::string shown(const std::string& path);

}  // namespace cprewind::engine

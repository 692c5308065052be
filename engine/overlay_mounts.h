// The overlay file systems of containers, as /proc/PID/mountinfo lists them.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace cprewind::engine {

// The value of `key` in the options of the overlay mounted at "/", octal escapes decoded; nothing when there is no such
// option or something else is mounted there.
std::optional<std::string> root_overlay_option(std::string_view mountinfo, std::string_view key);

// Where the overlay is mounted of which `layer_directory` is the upper directory: by its options, or, since Docker mounts
// with relative paths when they do not fit into a page, beside it, under Docker's name "merged".
std::vector<std::string> mounts_over(std::string_view mountinfo,
                                     const std::filesystem::path& layer_directory);

// A container that is stopped has no such mount, except when its dockerd died while it started the container; Docker then
// uses that mount again. An overlay does not notice that its upper directory was changed below it, so after that it must
// be made to look again. Errors: io.
void refresh_mounts_over(const std::filesystem::path& layer_directory);

}  // namespace cprewind::engine

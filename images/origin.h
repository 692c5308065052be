// Where a checkpoint comes from, as the files beside its images tell: which engine made it, of which container,
// from which container image, and when.
//
// Each engine leaves other files (docs/sources.md): podman config.dump, spec.dump and network.status; CRI-O and
// containerd a config.dump of another shape, spec.dump, bind.mounts or status.dump; `ctr` an OCI index with
// annotations; Docker nothing in the checkpoint, but config.v2.json two directories above it. All of it was
// written by whoever made the archive: it is shown and never believed further than that.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/text.h"
#include "images/finding.h"
#include "images/image_source.h"

namespace cprewind::images {

enum class OriginEngine { unknown, docker, podman, crio, containerd };
// "podman", "CRI-O", …; "unknown" where nothing but images is there.
const char* name_of(OriginEngine engine);

// A directory of the host that the container saw, or a named volume.
struct OriginMount {
    std::string source;
    std::string destination;
};

// A file beside the images, and what it is for: "volume", "container log", ….
struct OriginPart {
    std::string name;
    const char* what = "";
    uint64_t bytes = 0;
};

// Empty or absent: nothing told it. Texts are bytes as found.
struct Origin {
    OriginEngine engine = OriginEngine::unknown;
    std::string engine_version;
    std::string container_name;
    std::string container_id;
    std::string container_image;  // as the user named it
    std::string image_id;
    std::string pod;      // "namespace/name", or podman's id of it
    std::string runtime;  // "runc", "crun"
    std::string criu;     // version
    std::vector<std::string> command;
    std::vector<std::string> addresses;  // of the network interfaces, as written
    std::vector<OriginMount> mounts;
    std::optional<base::WallTime> created;
    std::optional<base::WallTime> checkpointed;
    bool checkpointed_by_file = false;  // no file tells it: the time at which the inventory was written
    std::vector<OriginPart> parts;

    // Anything that the images alone do not tell.
    bool known() const {
        return engine != OriginEngine::unknown || !container_name.empty() || !container_id.empty() ||
               !parts.empty();
    }
};

// Reads what lies in `files` beside the images below `images_prefix` ("checkpoint/", ""). JSON that is cut off,
// of another shape or beyond 2 MiB is a finding, and the rest is read.
Origin read_origin(const ImageSource& files, std::string_view images_prefix, Findings& findings);

// Docker's own description of a container (config.v2.json), for a checkpoint that lies where Docker put it.
void add_docker_origin(const ImageSource& container_directory, Origin& origin, Findings& findings);

// RFC 3339 with any fraction and offset; nothing for what is none, for Go's zero time (the year 1) and for what
// is before 1970 or beyond the year 2261.
std::optional<base::WallTime> parse_rfc3339(std::string_view text);

}  // namespace cprewind::images

// From where the files of a subject's container can be read: its writable layer, a directory that the user names, the
// engine's own layers of the container image while they are on this host.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "cli/subject.h"
#include "cli/sysroot.h"
#include "inspect/container_files.h"

namespace cprewind::cli {

class ContainerSources {
 public:
    // `sysroot` may be empty. `subject` must outlive this. Errors: io when there is no such directory.
    ContainerSources(const Subject& subject, const std::string& sysroot, images::Findings& findings);

    const inspect::ContainerFiles& files() const { return *files_; }

 private:
    std::vector<std::unique_ptr<Sysroot>> roots_;
    std::unique_ptr<inspect::ContainerFiles> files_;
};

}  // namespace cprewind::cli

#include "inspect/mounts.h"

namespace cprewind::inspect {

const images::Mount* mount_of(const images::Checkpoint& checkpoint, const std::string& path) {
    const images::Mount* best = nullptr;
    for (const images::Mount& mount : checkpoint.mounts) {
        const std::string& point = mount.mountpoint;
        bool above = point == "/" ||
                     (path.starts_with(point) && (path.size() == point.size() || path[point.size()] == '/'));
        if (above && (best == nullptr || point.size() >= best->mountpoint.size())) best = &mount;
    }
    return best;
}

const images::Mount* mount_beside_root(const images::Checkpoint& checkpoint, const std::string& path) {
    const images::Mount* mount = mount_of(checkpoint, path);
    return mount != nullptr && mount->mountpoint != "/" ? mount : nullptr;
}

}  // namespace cprewind::inspect

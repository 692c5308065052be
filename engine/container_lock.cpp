#include "engine/container_lock.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>

#include <cerrno>
#include <filesystem>

#include "base/error.h"

namespace cprewind::engine {

ContainerLock::ContainerLock(const std::string& container_id, const std::function<void()>& waiting) {
    // Lock files stay: removing one while another process waits for it would give two holders.
    std::filesystem::path directory = "/run/cprewind/locks";
    base::make_private_directory(directory.parent_path());
    base::make_private_directory(directory);
    file_ = base::open_file(directory / container_id, O_RDWR | O_CREAT, 0600);
    if (::flock(file_.get(), LOCK_EX | LOCK_NB) == 0) return;
    if (errno == EWOULDBLOCK) waiting();
    while (::flock(file_.get(), LOCK_EX) != 0) {
        int e = errno;
        if (e != EINTR) base::throw_errno(e, fmt::format("lock container {}", container_id.substr(0, 12)));
    }
}

}  // namespace cprewind::engine

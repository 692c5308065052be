#include "engine/doctor_watches.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <optional>
#include <string>

#include "base/error.h"
#include "base/fd.h"
#include "base/text.h"
#include "engine/doctor_process.h"

namespace cprewind::engine {
namespace {

namespace fs = std::filesystem;

// An overlay gives no handles by which CRIU could open a watched file; then it searches these directories, and those
// that its option irmap-scan-path names (criu/irmap.c).
constexpr const char* k_searched[] = {"etc",
                                      "var/spool",
                                      "var/log",
                                      "usr/share/dbus-1/services",
                                      "usr/share/dbus-1/system-services",
                                      "var/lib/polkit-1/localauthority",
                                      "usr/share/polkit-1/actions",
                                      "lib/udev"};
// Looking for the name of a watched file is a courtesy; a file system of millions is not walked for it.
constexpr unsigned k_most_entries = 50000;

struct File {
    dev_t device = 0;
    ino_t inode = 0;
};

std::optional<File> file_at(const fs::path& path) {
    struct stat st {};
    if (::lstat(path.c_str(), &st) != 0) return std::nullopt;
    return File{st.st_dev, st.st_ino};
}

bool is(const fs::path& path, const File& wanted) {
    auto file = file_at(path);
    return file && file->device == wanted.device && file->inode == wanted.inode;
}

std::optional<fs::path> find_below(const fs::path& start, const File& wanted) {
    if (is(start, wanted)) return start;
    std::error_code error;
    unsigned left = k_most_entries;
    auto options = fs::directory_options::skip_permission_denied;
    for (fs::recursive_directory_iterator at(start, options, error), end; !error && at != end && left > 0;
         at.increment(error), --left) {
        auto file = file_at(at->path());
        if (!file || file->device != wanted.device) {
            at.disable_recursion_pending();  // /proc, volumes
        } else if (file->inode == wanted.inode) {
            return at->path();
        }
    }
    return std::nullopt;
}

bool is_searched_by_criu(const fs::path& root, const File& wanted) {
    for (const char* directory : k_searched) {
        if (find_below(root / directory, wanted)) return true;
    }
    return is(root, wanted);
}

// "inotify wd:1 ino:a3 sdev:2e mask:…": numbers in hexadecimal, the device as the kernel has it within.
std::vector<File> watched_by(pid_t pid, int fd) {
    std::vector<File> files;
    std::string text;
    try {
        text = base::read_file(fmt::format("/proc/{}/fdinfo/{}", pid, fd));
    } catch (const base::Error&) {
        return files;
    }
    for (const std::string& line : base::split(text, '\n')) {
        if (!line.starts_with("inotify ")) continue;
        File file;
        for (const std::string& field : base::split(line, ' ')) {
            if (field.starts_with("ino:")) file.inode = base::parse_address(field.substr(4)).value_or(0);
            if (!field.starts_with("sdev:")) continue;
            uint64_t device = base::parse_address(field.substr(5)).value_or(0);
            file.device =
                makedev(static_cast<unsigned>(device >> 20), static_cast<unsigned>(device & 0xfffff));
        }
        files.push_back(file);
    }
    return files;
}

}  // namespace

void examine_watches(pid_t pid, int fd, std::vector<ContainerFinding>& findings) {
    fs::path root = fmt::format("/proc/{}/root/", pid);
    auto overlay = file_at(root / ".");
    if (!overlay) return;
    for (const File& file : watched_by(pid, fd)) {
        if (file.device != overlay->device || is_searched_by_criu(root, file)) continue;
        auto found = find_below(root, file);
        std::string place = found ? "/" + found->lexically_relative(root).string() : "";
        findings.push_back(
            {Effect::snap_fails, "inotify",
             fmt::format("{}, descriptor {} watches {}", process_label(pid), fd,
                         place.empty() ? fmt::format("inode {} of the writable layer", file.inode)
                                       : base::escape(place)),
             "CRIU cannot name a file of an overlay by what the kernel tells of a watch",
             fmt::format(
                 "let CRIU look for it: irmap-scan-path {} in /etc/criu/runc.conf; or watch a volume instead",
                 place.empty() ? "DIRECTORY" : base::escape(place)),
             pid, fd});
    }
}

}  // namespace cprewind::engine

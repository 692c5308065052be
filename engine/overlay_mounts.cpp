#include "engine/overlay_mounts.h"

#include <sys/mount.h>
#include <sys/statvfs.h>

#include <cerrno>

#include "base/error.h"
#include "base/fd.h"
#include "base/text.h"

namespace cprewind::engine {
namespace fs = std::filesystem;

namespace {

// mountinfo writes blank, tab, newline and backslash as \ooo.
std::string decode_octal(std::string_view text) {
    std::string out;
    for (size_t i = 0; i < text.size(); ++i) {
        auto digit = [&](size_t k) { return text[i + k] >= '0' && text[i + k] <= '7'; };
        if (text[i] == '\\' && i + 3 < text.size() && digit(1) && digit(2) && digit(3)) {
            out +=
                static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0'));
            i += 3;
        } else {
            out += text[i];
        }
    }
    return out;
}

// "key=value" in a comma-separated list; a comma inside a value is written "\,".
std::optional<std::string> option_in(std::string_view options, std::string_view key) {
    std::string item;
    for (size_t i = 0; i <= options.size(); ++i) {
        bool escaped_comma = i > 0 && i < options.size() && options[i] == ',' && options[i - 1] == '\\';
        if (i < options.size() && (options[i] != ',' || escaped_comma)) {
            if (escaped_comma) item.pop_back();
            item += options[i];
            continue;
        }
        if (item.size() > key.size() && item.starts_with(key) && item[key.size()] == '=') {
            return decode_octal(std::string_view(item).substr(key.size() + 1));
        }
        item.clear();
    }
    return std::nullopt;
}

struct Mount {
    std::string mountpoint;
    std::string type;
    std::string options;  // of the file system, not decoded
};

std::vector<Mount> read_mounts(std::string_view mountinfo) {
    std::vector<Mount> mounts;
    for (const std::string& line : base::split(mountinfo, '\n')) {
        size_t dash = line.find(" - ");
        if (dash == std::string::npos) continue;
        auto head = base::split(std::string_view(line).substr(0, dash), ' ');
        auto tail = base::split(std::string_view(line).substr(dash + 3), ' ');
        if (head.size() > 4 && tail.size() > 2) mounts.push_back({decode_octal(head[4]), tail[0], tail[2]});
    }
    return mounts;
}

}  // namespace

std::optional<std::string> root_overlay_option(std::string_view mountinfo, std::string_view key) {
    std::optional<std::string> found;
    for (const Mount& mount : read_mounts(mountinfo)) {
        // Later mounts lie on top of earlier ones at the same place.
        if (mount.mountpoint == "/")
            found = mount.type == "overlay" ? option_in(mount.options, key) : std::nullopt;
    }
    return found;
}

std::vector<std::string> mounts_over(std::string_view mountinfo, const fs::path& layer_directory) {
    std::vector<std::string> found;
    for (const Mount& mount : read_mounts(mountinfo)) {
        if (mount.type != "overlay") continue;
        bool beside = mount.mountpoint == layer_directory.parent_path() / "merged";
        if (beside || option_in(mount.options, "upperdir") == layer_directory.string())
            found.push_back(mount.mountpoint);
    }
    return found;
}

void refresh_mounts_over(const fs::path& layer_directory) {
    for (const std::string& mountpoint :
         mounts_over(base::read_file("/proc/self/mountinfo"), layer_directory)) {
        // A remount forgets what was looked up (fs/super.c, reconfigure_super: shrink_dcache_sb), and changes nothing
        // when it is told the flags that are set.
        struct statvfs now {};
        bool done = ::statvfs(mountpoint.c_str(), &now) == 0;
        unsigned long flags =
            MS_REMOUNT |
            (now.f_flag & (MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME | MS_NODIRATIME));
        if (!done || ::mount(nullptr, mountpoint.c_str(), nullptr, flags, nullptr) != 0)
            base::throw_errno(errno, "remount " + mountpoint);
    }
}

}  // namespace cprewind::engine

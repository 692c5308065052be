#include "engine/staging.h"

#include <fmt/format.h>
#include <linux/magic.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include "base/error.h"
#include "base/text.h"
#include "engine/start_times.h"

namespace cprewind::engine {
namespace {

namespace fs = std::filesystem;

constexpr const char* k_in_memory[] = {"/run", "/dev/shm", "/tmp"};  // tmpfs on most hosts
constexpr std::string_view k_prefix = "cprewind-staging-";

// The maker's pid and start time are in the name, so that remove_stale_staging can tell.
std::string own_prefix() {
    auto pid = static_cast<uint64_t>(::getpid());
    return fmt::format("{}{}-{}-", k_prefix, pid, start_time(pid));
}

// In a staging directory: the path of a journal that speaks of it.
constexpr const char* k_kept_for = "kept-for";

bool is_needed(const fs::path& directory) {
    std::error_code ignored;
    if (!fs::exists(directory / k_kept_for, ignored)) return false;
    try {
        return fs::exists(base::read_file(directory / k_kept_for), ignored);
    } catch (const base::Error&) {
        return true;
    }
}

fs::path make_directory(const fs::path& parent) {
    std::string name = (parent / (own_prefix() + "XXXXXX")).string();
    if (::mkdtemp(name.data()) == nullptr) {
        base::throw_errno(errno, fmt::format("create a directory in {}", parent.string()));
    }
    return name;
}

bool maker_lives(const std::string& name) {
    auto parts = base::split(std::string_view(name).substr(k_prefix.size()), '-');
    auto pid = parts.size() == 3 ? base::parse_number(parts[0]) : std::nullopt;
    auto started = parts.size() == 3 ? base::parse_number(parts[1]) : std::nullopt;
    return pid && started && start_time(*pid) == *started;
}

}  // namespace

uint64_t available_memory() {
    for (const std::string& line : base::split(base::read_file("/proc/meminfo"), '\n')) {
        if (!line.starts_with("MemAvailable:")) continue;
        std::string_view rest = base::trim(std::string_view(line).substr(13));
        return base::parse_number(rest.substr(0, rest.find(' '))).value_or(0) * 1024;
    }
    return 0;
}

StagingPlace choose_staging(uint64_t bytes, const fs::path& fallback) {
    auto room_in = [](const fs::path& path, bool& in_memory) -> uint64_t {
        struct statfs st {};
        if (::statfs(path.c_str(), &st) != 0) return 0;
        in_memory = st.f_type == TMPFS_MAGIC;
        return static_cast<uint64_t>(st.f_bavail) * static_cast<uint64_t>(st.f_bsize);
    };
    if (const char* wanted = std::getenv("CPREWIND_STAGING"); wanted != nullptr && *wanted != '\0') {
        StagingPlace place{wanted, false, 0};
        place.free_bytes = room_in(place.directory, place.in_memory);
        return place;
    }
    uint64_t memory = available_memory() / 2;
    StagingPlace best;
    for (const char* candidate : k_in_memory) {
        bool in_memory = false;
        uint64_t room = std::min(room_in(candidate, in_memory), memory);
        if (in_memory && room > best.free_bytes && ::access(candidate, W_OK) == 0)
            best = {candidate, true, room};
    }
    if (best.in_memory && best.free_bytes >= bytes) return best;
    StagingPlace place{fallback, false, 0};
    place.free_bytes = room_in(fallback, place.in_memory);
    return place;
}

Staging::Staging(const StagingPlace& place)
    : path_(make_directory(place.directory)), guard_([path = path_] {
          std::error_code ignored;
          if (!is_needed(path)) fs::remove_all(path, ignored);
      }) {
    remove_stale_staging(place.directory);
}

void Staging::keep_for(const fs::path& journal) {
    base::replace_file(path_ / k_kept_for, fs::absolute(journal).string());
}

Staging::~Staging() {
    // Going back failed: whoever recovers needs what is here.
    std::error_code ignored;
    if (!is_needed(path_)) fs::remove_all(path_, ignored);
    guard_.disarm();
}

unsigned remove_stale_staging(const fs::path& directory) {
    unsigned removed = 0;
    std::error_code ignored;
    for (const fs::directory_entry& entry : fs::directory_iterator(directory, ignored)) {
        std::string name = entry.path().filename().string();
        // Only root's own directories: /tmp and /dev/shm are anybody's to write.
        if (!name.starts_with(k_prefix) || !entry.is_directory(ignored) || entry.is_symlink(ignored))
            continue;
        if (maker_lives(name) || is_needed(entry.path())) continue;
        fs::remove_all(entry.path(), ignored);
        ++removed;
    }
    return removed;
}

void remove_stale_staging_everywhere(const fs::path& fallback) {
    for (const char* candidate : k_in_memory) remove_stale_staging(candidate);
    if (const char* wanted = std::getenv("CPREWIND_STAGING"); wanted != nullptr && *wanted != '\0')
        remove_stale_staging(wanted);
    remove_stale_staging(fallback);
}

}  // namespace cprewind::engine

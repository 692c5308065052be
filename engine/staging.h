// Where a dump lies between CRIU and the repository: on a tmpfs when memory allows (a dump to disk stalls the
// container longer), else on the disk of the repository.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "base/fd.h"
#include "engine/guard.h"

namespace cprewind::engine {

struct StagingPlace {
    std::filesystem::path directory;
    bool in_memory = false;
    uint64_t free_bytes = 0;
};

// The place for `bytes` of dump: $CPREWIND_STAGING if set, else the tmpfs with the most room among /run,
// /dev/shm and /tmp provided that it and half of the available memory hold `bytes`, else `fallback`.
StagingPlace choose_staging(uint64_t bytes, const std::filesystem::path& fallback);

// A 0700 directory that is gone when its owner is, however the owner ends: it holds what a container had in
// memory.
class Staging {
 public:
    // Leftovers of makers that died together with their guards are removed on the way.
    explicit Staging(const StagingPlace& place);
    Staging(const Staging&) = delete;
    Staging& operator=(const Staging&) = delete;
    ~Staging();

    const std::filesystem::path& path() const { return path_; }
    // It stays after our death and our guard's as long as the file `journal` exists.
    void keep_for(const std::filesystem::path& journal);
    // Whoever inherits this keeps the directory in place after our death.
    int hold_fd() const { return guard_.hold_fd(); }

 private:
    std::filesystem::path path_;
    Guard guard_;
};

// Removes staging directories in `directory` whose makers are dead, unless a journal needs them. Returns how many.
unsigned remove_stale_staging(const std::filesystem::path& directory);

// The same wherever choose_staging() may have put one.
void remove_stale_staging_everywhere(const std::filesystem::path& fallback);

// "MemAvailable" of /proc/meminfo, in bytes.
uint64_t available_memory();

}  // namespace cprewind::engine

// Taking up what dead men left: a container that was paused by a snap which died with its guard, or that a rewind
// was in the middle of (engine/journal.h).
//
// Every command that is about to touch a container calls recover_container first, so that it finds the container as
// it was before the interrupted work, or at that work's end; `cprewind recover` does nothing else.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "engine/container_lock.h"
#include "engine/docker_client.h"
#include "engine/snap.h"

namespace cprewind::engine {

struct Recovered {
    enum class What {
        resumed,    // it was paused by us and runs on
        untouched,  // nothing had been done to it yet
        at_target,  // the rewind had been done; it stands
        at_before,  // it is back at the moment before the rewind
        gone,       // the container does not exist any more; the journal was removed
    } what = What::resumed;
    std::string container_id;
    std::string container_name;
    std::string sentence;  // for a person
};
const char* name_of(Recovered::What what);

// Nothing, when nobody left anything. `lock` is of that container: so whoever wrote the journal is dead, and his guard.
// Throws base::Error, which says how the container stands and what is left to do; the journal stays then.
std::optional<Recovered> recover_container(DockerClient& docker, const ContainerLock& lock,
                                           const std::string& container_id,
                                           const std::filesystem::path& repository, const Report& report);

// Forgets the journal; the container stays as it is.
void forget_journal(const ContainerLock& lock, const std::string& container_id,
                    const std::filesystem::path& repository);

}  // namespace cprewind::engine

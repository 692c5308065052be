// What `cprewind rewind` leaves for the runtime: "the next time this container is created, restore it from
// here".
//
// A plan is a directory <state>/pending/<container id>/ with a file "plan" of lines KEY=VALUE (LF, no
// quoting; a value holds no LF; unknown keys are an error, so that an old runtime never half-obeys a new
// plan):
//
//   version=1
//   images=/abs/dir               CRIU images, as runc checkpoint wrote them
//   option=--tcp-close            further option for `runc restore`, may repeat
//   criu-config=/abs/file         optional: CRIU configuration file, handed on through the org.criu.config
//   annotation
//   address=172.17.0.2            an address that a socket of the images is bound to, may repeat
//
// <state> is k_state_directory, or CPREWIND_RUNTIME_STATE in tests. It and everything in it that is looked at
// must be owned by root (by our effective uid in tests) and not writable by others, or the plan does not
// exist for us. Taking a plan is one rename(2) to <state>/taken/<container id>/, so it is obeyed once,
// whoever else looks. What came of it is left there: "result" with lines `outcome=restored` or
// `outcome=failed`, `exit=…`; and CRIU's "restore.log". The file "started" appears there when the `start`
// that follows was swallowed.
//
// Life of a plan, and what an observer may conclude:
//   pending/<id>                    not yet seen by the runtime
//   taken/<id> without result       the runtime is at it (it holds flock(LOCK_EX) on the plan), or died at it
//   taken/<id>/result=failed        restore.log says why; no container exists
//   taken/<id>/result=restored      it runs; `start` will be a no-op once
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/fd.h"

namespace cprewind::runtime {

inline constexpr const char* k_state_directory = "/run/cprewind/runtime";

struct Plan {
    std::string images;
    std::vector<std::string> options;
    std::optional<std::string> criu_config;
    std::vector<std::string> addresses{};
    // Of a plan that was taken: locked as long as whoever took it lives.
    base::Fd held = {};
};

enum class Outcome { none, taken, restored, failed };

// $CPREWIND_RUNTIME_STATE or k_state_directory.
std::filesystem::path state_directory();

// Writes a plan whole (temporary directory, then rename). An earlier plan or outcome of that container goes.
void leave_plan(const std::filesystem::path& state, const std::string& container_id, const Plan& plan);

// Takes the pending plan of the container; none when there is none or when it must not be trusted (`why_not`
// then says why, if wanted).
std::optional<Plan> take_plan(const std::filesystem::path& state, const std::string& container_id,
                              std::string* why_not = nullptr);

// Forgets plan and outcome of a container.
void drop_plan(const std::filesystem::path& state, const std::string& container_id);

Outcome outcome_of(const std::filesystem::path& state, const std::string& container_id);

// Outcome::taken, and the runtime that took the plan is alive.
bool is_at_work(const std::filesystem::path& state, const std::string& container_id);

// Lets go what a restore that was killed has left mounted in `directory`: CRIU, in its working directory, the host's
// control groups (cgroup.c, prepare_cgroup_sfd); runc, in the container's state directory, the container's whole file
// system (criu-root; container_linux.go, Restore). Whoever removes such a directory, and be it runc itself, would go on to
// remove what is mounted there.
void release_mounts(const std::filesystem::path& directory) noexcept;

// Removes taken/<container id>, and what a CRIU that was killed has mounted in it. Error: io.
void forget_taken(const std::filesystem::path& state, const std::string& container_id);

// Where the runtime left CRIU's restore.log and the rest for this container.
std::filesystem::path taken_directory(const std::filesystem::path& state, const std::string& container_id);

}  // namespace cprewind::runtime

#include "engine/doctor.h"

#include <fmt/format.h>
#include <linux/magic.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/process.h"
#include "base/text.h"
#include "engine/daemon_config.h"
#include "engine/docker_client.h"
#include "engine/staging.h"

namespace cprewind::engine {
namespace {

using base::Error;
using nlohmann::json;
namespace fs = std::filesystem;

Check check_user() {
    bool root = ::geteuid() == 0;
    return {"user", root ? Verdict::good : Verdict::bad, root ? "root" : fmt::format("uid {}", ::geteuid()),
            "dumping and restoring processes needs root; reading snapshots and dumps does not",
            root ? "" : "run: sudo cprewind …"};
}

Check check_kernel() {
    utsname name{};
    ::uname(&name);
    Check check{"kernel", Verdict::good, fmt::format("{} {}", name.sysname, name.release),
                "CRIU needs checkpoint/restore support and must know this kernel's ways", ""};
    // CONFIG_CHECKPOINT_RESTORE is what puts this file there.
    if (::access("/proc/self/map_files", F_OK) != 0) {
        check.verdict = Verdict::bad;
        check.remedy = "use a kernel with CONFIG_CHECKPOINT_RESTORE";
    }
    return check;
}

// The first error CRIU's own check prints, without time stamp and source line.
std::string criu_complaint(const std::string& err) {
    for (const std::string& line : base::split(err, '\n')) {
        size_t at = line.find("): ");
        if (line.find("Error (") != std::string::npos && at != std::string::npos) return line.substr(at + 3);
    }
    return std::string(base::trim(err.substr(0, err.find('\n'))));
}

Check check_criu() {
    Check check{"CRIU", Verdict::good, "", "it freezes, dumps and restores the processes", ""};
    if (!base::find_program("criu")) {
        return {check.what, Verdict::bad, "not installed", check.why, "apt install criu (4.2 or newer)"};
    }
    std::string version = base::run({"criu", "--version"}).out;
    std::string line = version.substr(0, version.find('\n'));
    check.found = line.starts_with("Version: ") ? line.substr(9) : line;
    base::Output works = base::run({"criu", "check"});
    if (!works.status.success()) {
        check.verdict = Verdict::bad;
        check.found += fmt::format(", and its own check fails: {}", base::escape(criu_complaint(works.err)));
        check.remedy = "install a newer CRIU: 4.1 for kernels of 2025, 4.2 for 6.16 and newer";
        return check;
    }
    auto parts = base::split(check.found, '.');
    uint64_t major = base::parse_number(parts[0]).value_or(0);
    uint64_t minor = parts.size() > 1 ? base::parse_number(parts[1]).value_or(0) : 0;
    utsname name{};
    ::uname(&name);
    auto kernel = base::split(name.release, '.');
    bool new_sockets =
        kernel.size() > 1 && (base::parse_number(kernel[0]).value_or(0) > 6 ||
                              (kernel[0] == "6" && base::parse_number(kernel[1]).value_or(0) >= 16));
    if (new_sockets && (major < 4 || (major == 4 && minor < 2))) {
        check.verdict = Verdict::limited;
        check.remedy = "on kernel 6.16 and newer it cannot dump sockets: install CRIU 4.2 or newer";
    }
    return check;
}

Check check_capability() {
    Check check{"capabilities", Verdict::good, "all that matter",
                "without CAP_SYS_RESOURCE only root's processes can "
                "be dumped",
                ""};
    std::string status = base::read_file("/proc/self/status");
    size_t at = status.find("CapEff:");
    uint64_t effective = at == std::string::npos ? 0 : std::stoull(status.substr(at + 7), nullptr, 16);
    if ((effective >> 24 & 1) == 0) {  // CAP_SYS_RESOURCE, linux/capability.h
        check.verdict = Verdict::limited;
        check.found = "CAP_SYS_RESOURCE is missing";
        check.remedy = "containers whose processes run as another user than root cannot be snapped here";
    }
    return check;
}

Check check_cgroups() {
    struct statfs st {};
    bool v2 = ::statfs("/sys/fs/cgroup", &st) == 0 && st.f_type == CGROUP2_SUPER_MAGIC;
    return {"control groups", Verdict::good, v2 ? "v2" : "v1",
            "pausing a container is their work; both kinds do", ""};
}

void check_engine(DockerClient& docker, std::vector<Check>& checks) {
    json info = docker.info();
    const EngineVersion& version = docker.version();
    checks.push_back({"Docker", Verdict::good, fmt::format("{} (API {})", version.engine, version.api),
                      "it knows the containers", ""});

    bool registered = info.contains("Runtimes") && info["Runtimes"].contains(k_runtime_name);
    std::string default_runtime = info.value("DefaultRuntime", "");
    Check runtime{"cprewind runtime", Verdict::good, "",
                  "containers created under it can be rewound in place, on every "
                  "Docker",
                  ""};
    if (registered) {
        std::string path = info["Runtimes"][k_runtime_name].value("path", "");
        runtime.found = fmt::format("registered: {}{}", path,
                                    default_runtime == k_runtime_name ? ", and the default" : "");
        if (::access(path.c_str(), X_OK) != 0) {
            runtime.verdict = Verdict::bad;
            runtime.found += ", which is not there";
            runtime.remedy = "cprewind setup";
        }
    } else {
        runtime.verdict = Verdict::bad;
        runtime.found = "not registered";
        runtime.remedy = "cprewind setup";
    }
    checks.push_back(runtime);

    bool broken = version.major() >= 28;
    checks.push_back(
        {"Docker's own restore", broken ? Verdict::limited : Verdict::good,
         broken ? fmt::format("broken in {} except for --network host", version.engine) : "works",
         "the way back for containers that were not created under cprewind's runtime",
         broken ? "create containers with --runtime cprewind, or: cprewind setup --default-runtime" : ""});
    checks.push_back({"experimental features", Verdict::good, version.experimental ? "on" : "off",
                      "only Docker's own checkpoint and restore need them; cprewind goes past them", ""});

    std::string driver = info.value("Driver", "");
    bool overlay = driver == "overlay2" || driver == "overlayfs";
    checks.push_back(
        {"storage driver", overlay ? Verdict::good : Verdict::bad, driver,
         "a snapshot holds the container's writable layer, found as the upper directory of an overlay",
         overlay ? "" : "use Docker's overlay2 driver or the containerd image store"});
    if (info.contains("SecurityOptions") &&
        info["SecurityOptions"].dump().find("rootless") != std::string::npos) {
        checks.push_back({"rootless", Verdict::bad, "Docker runs rootless", "CRIU needs real root",
                          "use the system's dockerd"});
    }
}

void check_places(const fs::path& repository, std::vector<Check>& checks) {
    uint64_t memory = available_memory();
    StagingPlace place = choose_staging(0, "/var/tmp");
    checks.push_back({"staging", place.in_memory ? Verdict::good : Verdict::limited,
                      fmt::format("{} with {} free, {} of memory available", place.directory.string(),
                                  base::human_bytes(place.free_bytes), base::human_bytes(memory)),
                      "a dump goes to memory first, so that the container stands still for a shorter time",
                      place.in_memory ? "" : "mount a tmpfs on /run or /dev/shm"});

    std::error_code ignored;
    fs::path existing = repository;
    while (!existing.empty() && !fs::exists(existing, ignored) && existing != existing.parent_path()) {
        existing = existing.parent_path();
    }
    auto space = fs::space(existing, ignored);
    bool writable = ::access(existing.c_str(), W_OK) == 0;
    checks.push_back({"repository", writable ? Verdict::good : Verdict::bad,
                      fmt::format("{}{}, {} free", repository.string(),
                                  existing == repository ? "" : " (made by the first snap)",
                                  base::human_bytes(space.available)),
                      "snapshots are kept there",
                      writable ? "" : "choose another: --repo DIR or CPREWIND_REPO"});
}

}  // namespace

const char* name_of(Verdict verdict) {
    switch (verdict) {
        case Verdict::good:
            return "good";
        case Verdict::limited:
            return "limited";
        case Verdict::bad:
            return "bad";
    }
    return "bad";
}

std::vector<Check> examine_host(const fs::path& repository) {
    std::vector<Check> checks = {check_user(), check_kernel(), check_criu(), check_capability(),
                                 check_cgroups()};
    try {
        DockerClient docker;
        check_engine(docker, checks);
    } catch (const Error& error) {
        checks.push_back({"Docker", Verdict::bad, error.message(), "it knows the containers", error.hint()});
    }
    check_places(repository, checks);
    return checks;
}

}  // namespace cprewind::engine

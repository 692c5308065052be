#include "runtime/plan.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "base/error.h"
#include "base/fd.h"
#include "base/text.h"

namespace cprewind::runtime {
namespace fs = std::filesystem;
using base::Fd;

namespace {

constexpr uint64_t k_plan_limit = 64 * 1024;

// An id becomes a file name and a word of a command line. This is the set runc itself allows, without names
// that mean something to the file system or look like an option.
bool is_container_id(std::string_view id) {
    auto allowed = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
               c == '+' || c == '-' || c == '.';
    };
    return !id.empty() && id.size() <= 255 && id[0] != '.' && id[0] != '-' &&
           std::ranges::all_of(id, allowed);
}

bool is_absolute_line(std::string_view value) {
    return value.starts_with('/') && value.find('\n') == std::string_view::npos &&
           value.find('\0') == value.npos;
}

bool is_option(std::string_view value) {
    return value.starts_with("--") && value.size() > 2 && value.find('\n') == std::string_view::npos &&
           value.find('\0') == value.npos;
}

bool is_address(const std::string& value) {
    in6_addr bytes{};  // the larger of the two
    return ::inet_pton(AF_INET, value.c_str(), &bytes) == 1 ||
           ::inet_pton(AF_INET6, value.c_str(), &bytes) == 1;
}

// Nobody but us (root, outside tests) could have written what lies behind `fd`.
bool is_ours(int fd, mode_t type, std::string_view name, std::string& why_not) {
    struct stat st {};
    if (::fstat(fd, &st) != 0) {
        why_not = fmt::format("cannot stat {}: {}", name, std::strerror(errno));
    } else if ((st.st_mode & S_IFMT) != type) {
        why_not = fmt::format("{} is not the type of file expected there", name);
    } else if (st.st_uid != ::geteuid()) {
        why_not = fmt::format("{} belongs to uid {}, expected {}", name, st.st_uid, ::geteuid());
    } else if ((st.st_mode & 022) != 0) {
        why_not = fmt::format("{} is writable by others (mode {:04o})", name, st.st_mode & 07777);
    } else {
        return true;
    }
    return false;
}

// Opens `name` below `at` without following a link, and only when it is ours. An absent file is not worth a
// reason.
Fd open_ours(int at, const std::string& name, mode_t type, std::string& why_not) {
    // O_NONBLOCK: a fifo put in our way must not hang a container start.
    int flags = O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | (type == S_IFDIR ? O_DIRECTORY : 0);
    Fd fd(::openat(at, name.c_str(), flags));
    if (!fd) {
        if (errno != ENOENT) why_not = fmt::format("cannot open {}: {}", name, std::strerror(errno));
        return {};
    }
    if (!is_ours(fd.get(), type, name, why_not)) return {};
    return fd;
}

std::optional<Plan> parse_plan(std::string_view text, std::string& why_not) {
    Plan plan;
    bool versioned = false;
    if (!text.ends_with('\n')) {
        why_not = "the plan ends in the middle of a line";
        return std::nullopt;
    }
    text.remove_suffix(1);
    for (const std::string& line : base::split(text, '\n')) {
        size_t equals = line.find('=');
        std::string key = line.substr(0, equals);
        std::string value = equals == line.npos ? "" : line.substr(equals + 1);
        if (key == "version" && value == "1" && !versioned) {
            versioned = true;
        } else if (key == "images" && plan.images.empty() && is_absolute_line(value)) {
            plan.images = value;
        } else if (key == "option" && is_option(value)) {
            plan.options.push_back(value);
        } else if (key == "criu-config" && !plan.criu_config && is_absolute_line(value)) {
            plan.criu_config = value;
        } else if (key == "address" && is_address(value)) {
            plan.addresses.push_back(value);
        } else {
            why_not = fmt::format("the plan has the line '{}', which this version does not understand",
                                  base::escape(line));
            return std::nullopt;
        }
    }
    if (!versioned || plan.images.empty()) {
        why_not = "the plan has no version=1 or no images";
        return std::nullopt;
    }
    return plan;
}

// The plan in directory `id` below `at`.
std::optional<Plan> load_plan(int at, const std::string& id, std::string& why_not) {
    Fd directory = open_ours(at, id, S_IFDIR, why_not);
    Fd file = directory ? open_ours(directory.get(), "plan", S_IFREG, why_not) : Fd();
    if (!file) return std::nullopt;
    std::string text(k_plan_limit + 1, '\0');
    try {
        text.resize(base::read_full(file.get(), std::as_writable_bytes(std::span(text)), "the plan"));
    } catch (const base::Error& e) {
        why_not = e.message();
        return std::nullopt;
    }
    if (text.size() > k_plan_limit) {
        why_not = "the plan is larger than any plan is";
        return std::nullopt;
    }
    auto plan = parse_plan(text, why_not);
    if (plan) plan->held = std::move(file);
    return plan;
}

}  // namespace

fs::path state_directory() {
    const char* chosen = std::getenv("CPREWIND_RUNTIME_STATE");
    return chosen != nullptr && *chosen == '/' ? chosen : k_state_directory;
}

fs::path taken_directory(const fs::path& state, const std::string& container_id) {
    return state / "taken" / container_id;
}

void release_mounts(const fs::path& directory) noexcept {
    std::error_code ignored;
    for (fs::directory_iterator entry(directory, ignored), end; entry != end; entry.increment(ignored)) {
        std::string name = entry->path().filename().string();
        if (name == "criu-root" || name.starts_with(".criu.cgyard."))
            ::umount2(entry->path().c_str(), MNT_DETACH | UMOUNT_NOFOLLOW);
    }
}

void forget_taken(const fs::path& state, const std::string& container_id) {
    fs::path taken = taken_directory(state, container_id);
    release_mounts(taken);
    std::error_code failed;
    fs::remove_all(taken, failed);
    if (failed) base::throw_errno(failed.value(), fmt::format("remove {}", taken.string()));
}

void leave_plan(const fs::path& state, const std::string& container_id, const Plan& plan) {
    CPREWIND_CHECK(is_container_id(container_id));
    CPREWIND_CHECK(is_absolute_line(plan.images));
    CPREWIND_CHECK(!plan.criu_config || is_absolute_line(*plan.criu_config));
    std::string text = fmt::format("version=1\nimages={}\n", plan.images);
    for (const std::string& option : plan.options) {
        CPREWIND_CHECK(is_option(option));
        text += fmt::format("option={}\n", option);
    }
    if (plan.criu_config) text += fmt::format("criu-config={}\n", *plan.criu_config);
    for (const std::string& address : plan.addresses) {
        CPREWIND_CHECK(is_address(address));
        text += fmt::format("address={}\n", address);
    }

    for (const char* part : {"pending", "taken"}) base::make_private_directory(state / part);
    drop_plan(state, container_id);
    base::TemporaryDirectory fresh(state, "new-");
    base::replace_file(fresh.path() / "plan", text);
    fs::path pending = state / "pending" / container_id;
    if (::rename(fresh.path().c_str(), pending.c_str()) != 0) {
        base::throw_errno(errno, fmt::format("leave the plan {}", pending.string()));
    }
}

std::optional<Plan> take_plan(const fs::path& state, const std::string& container_id, std::string* why_not) {
    std::string ignored;
    std::string& why = why_not != nullptr ? *why_not : ignored;
    if (!is_container_id(container_id)) return std::nullopt;
    Fd root = open_ours(AT_FDCWD, state.string(), S_IFDIR, why);
    Fd pending = root ? open_ours(root.get(), "pending", S_IFDIR, why) : Fd();
    auto seen = pending ? load_plan(pending.get(), container_id, why) : std::nullopt;
    if (!seen) return std::nullopt;
    // Before it is moved: whoever finds it taken and not locked knows that we are dead.
    if (::flock(seen->held.get(), LOCK_EX | LOCK_NB) != 0) {
        why = fmt::format("cannot lock the plan: {}", std::strerror(errno));
        return std::nullopt;
    }
    Fd taken = open_ours(root.get(), "taken", S_IFDIR, why);
    if (!taken) return std::nullopt;
    if (::renameat(pending.get(), container_id.c_str(), taken.get(), container_id.c_str()) != 0) {
        why = fmt::format("cannot take the plan: {}", std::strerror(errno));
        return std::nullopt;
    }
    // Read again: what is obeyed is what was moved, even if it was replaced between the two.
    auto plan = load_plan(taken.get(), container_id, why);
    if (!plan) {
        throw base::Error(
            base::ErrorKind::failed,
            fmt::format("the plan of container {} changed while it was taken: {}", container_id, why));
    }
    plan->held = std::move(seen->held);
    return plan;
}

bool is_at_work(const fs::path& state, const std::string& container_id) {
    if (outcome_of(state, container_id) != Outcome::taken) return false;
    std::string why_not;
    Fd directory = open_ours(AT_FDCWD, taken_directory(state, container_id).string(), S_IFDIR, why_not);
    Fd plan = directory ? open_ours(directory.get(), "plan", S_IFREG, why_not) : Fd();
    return plan && ::flock(plan.get(), LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
}

void drop_plan(const fs::path& state, const std::string& container_id) {
    CPREWIND_CHECK(is_container_id(container_id));
    std::error_code failed;
    fs::remove_all(state / "pending" / container_id, failed);
    if (failed) base::throw_errno(failed.value(), "remove the plan of container " + container_id);
    forget_taken(state, container_id);
}

Outcome outcome_of(const fs::path& state, const std::string& container_id) {
    if (!is_container_id(container_id)) return Outcome::none;
    std::string why_not;
    Fd root = open_ours(AT_FDCWD, state.string(), S_IFDIR, why_not);
    Fd taken = root ? open_ours(root.get(), "taken", S_IFDIR, why_not) : Fd();
    Fd directory = taken ? open_ours(taken.get(), container_id, S_IFDIR, why_not) : Fd();
    if (!directory) return Outcome::none;
    Fd result = open_ours(directory.get(), "result", S_IFREG, why_not);
    if (!result) return Outcome::taken;
    std::string text(4096, '\0');
    try {
        text.resize(base::read_full(result.get(), std::as_writable_bytes(std::span(text)), "the result"));
    } catch (const base::Error&) {
        return Outcome::failed;
    }
    if (text.starts_with("outcome=restored\n")) return Outcome::restored;
    return Outcome::failed;
}

}  // namespace cprewind::runtime

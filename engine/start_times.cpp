#include "engine/start_times.h"

#include <fmt/format.h>

#include <string>

#include "base/error.h"
#include "base/fd.h"
#include "base/text.h"

namespace cprewind::engine {
namespace {

// The pids of a process in each of the namespaces in which it has one, from the outermost that we see.
std::vector<std::string> pids_by_namespace(pid_t pid) {
    try {
        for (const std::string& line :
             base::split(base::read_file(fmt::format("/proc/{}/status", pid)), '\n')) {
            if (line.starts_with("NSpid:\t")) return base::split(line.substr(7), '\t');
        }
    } catch (const base::Error&) {
        // It has ended meanwhile.
    }
    return {};
}

}  // namespace

uint64_t start_time(uint64_t pid) {
    try {
        std::string stat = base::read_file(fmt::format("/proc/{}/stat", pid));
        // The command's name is in parentheses and may hold anything, parentheses included.
        auto fields = base::split(std::string_view(stat).substr(stat.rfind(')') + 2), ' ');
        return fields.size() > 19 ? base::parse_number(fields[19]).value_or(0) : 0;
    } catch (const base::Error&) {
        return 0;
    }
}

std::map<uint32_t, uint64_t> start_times_inside(const std::vector<pid_t>& pids, pid_t init) {
    std::map<uint32_t, uint64_t> times;
    size_t depth = pids_by_namespace(init).size();
    for (pid_t pid : pids) {
        auto names = pids_by_namespace(pid);
        if (depth == 0 || names.size() < depth) continue;
        auto inside = base::parse_number(names[depth - 1]);
        uint64_t started = start_time(static_cast<uint64_t>(pid));
        if (inside && started != 0) times[static_cast<uint32_t>(*inside)] = started;
    }
    return times;
}

}  // namespace cprewind::engine

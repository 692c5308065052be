// What the processes live in: host name, mounts, and the container as Docker describes it.
#include <fmt/format.h>

#include <map>
#include <nlohmann/json.hpp>

#include "inspect/diff.h"
#include "inspect/surroundings.h"

namespace cprewind::inspect {

namespace {

using nlohmann::json;

void compare_maps(std::vector<FieldChange>& changes, const std::string& prefix,
                  const std::map<std::string, std::string>& before,
                  const std::map<std::string, std::string>& after) {
    for (const auto& [key, value] : before) {
        auto now = after.find(key);
        if (now == after.end()) {
            changes.push_back({prefix + key, value, ""});
        } else if (now->second != value) {
            changes.push_back({prefix + key, value, now->second});
        }
    }
    for (const auto& [key, value] : after) {
        if (!before.contains(key)) changes.push_back({prefix + key, "", value});
    }
}

// Of mounts at one place the last counts: it hides the others. Numbers of mounts and namespaces are left out, since
// they are the kernel's and differ after a restore.
std::map<std::string, std::string> mounts_of(const images::Checkpoint& checkpoint) {
    std::map<std::string, std::string> mounts;
    for (const images::Mount& mount : checkpoint.mounts) {
        mounts[mount.mountpoint] = fmt::format("{} {} root {} flags {:#x} {}", mount.filesystem, mount.source,
                                               mount.root, mount.flags, mount.options);
    }
    return mounts;
}

// Of each kind, the process by which a namespace is told: the first of those in it that both moments have. The numbers
// are CRIU's own and mean nothing in another dump.
using Homes = std::map<std::string, std::map<images::DumpPid, images::DumpPid>>;

Homes homes_of(Moment moment, const PidSet& common) {
    Homes homes;
    for (const NamespaceRow& row : list_namespaces(moment).rows) {
        std::optional<images::DumpPid> first;
        for (images::DumpPid pid : row.processes) {
            if (common.contains(pid) && (!first || pid < *first)) first = pid;
        }
        for (images::DumpPid pid : row.processes) {
            if (first && common.contains(pid)) homes[row.kind][pid] = *first;
        }
    }
    return homes;
}

void compare_namespaces(std::vector<FieldChange>& changes, Moment a, Moment b, const PidSet& reused) {
    PidSet common;
    for (const images::Process& process : a.checkpoint.processes) {
        if (find_same(b.checkpoint, process.pid, reused)) common.insert(process.pid);
    }
    Homes before = homes_of(a, common), after = homes_of(b, common);
    auto text = [](images::DumpPid home) { return fmt::format("that of process {}", home.value); };
    for (const auto& [kind, homes] : before) {
        for (const auto& [pid, home] : homes) {
            auto now = after[kind].find(pid);
            if (now == after[kind].end() || now->second == home) continue;
            changes.push_back(
                {fmt::format("namespace {} of process {}", kind, pid.value), text(home), text(now->second)});
        }
    }
}

// The parts of Docker's answer that say what was asked for and what it got. State, ids of sandboxes and endpoints and
// the like differ between any two moments.
constexpr const char* k_parts[] = {
    "/Name",
    "/Image",
    "/Config",
    "/HostConfig",
    "/Mounts",
    "/NetworkSettings/Ports",
    "/NetworkSettings/Networks",
};
constexpr const char* k_volatile[] = {"EndpointID", "SandboxID", "SandboxKey", "DNSNames"};

void flatten(const json& value, const std::string& path, unsigned depth,
             std::map<std::string, std::string>& out) {
    constexpr unsigned k_deepest = 32;
    if (depth < k_deepest && value.is_object() && !value.empty()) {
        for (const auto& [key, inner] : value.items()) {
            bool skip = false;
            for (const char* word : k_volatile) skip = skip || key == word;
            if (!skip) flatten(inner, path.empty() ? key : path + "." + key, depth + 1, out);
        }
    } else if (value.is_string()) {
        out[path] = value.get<std::string>();
    } else if (!value.is_null() && !(value.is_structured() && value.empty())) {
        out[path] = value.dump(-1, ' ', false, json::error_handler_t::replace);
    }
}

std::optional<std::map<std::string, std::string>> container_fields(const std::string* text, const char* side,
                                                                   images::Findings& findings) {
    if (text == nullptr) return {};
    json document = json::parse(*text, nullptr, false);
    if (document.is_array() && !document.empty()) document = document[0];
    if (!document.is_object()) {
        images::add_finding(
            findings, {.kind = images::FindingKind::damaged,
                       .file = "container.json",
                       .offset = {},
                       .message = fmt::format("the description of the {} container is not JSON", side)});
        return {};
    }
    std::map<std::string, std::string> fields;
    for (const char* part : k_parts) {
        json::json_pointer pointer(part);
        if (!document.contains(pointer)) continue;
        std::string name(part + 1);
        for (char& c : name) c = c == '/' ? '.' : c;
        flatten(document[pointer], name, 0, fields);
    }
    return fields;
}

}  // namespace

SystemDiff diff_system(Moment first, Moment second, const std::string* container_a,
                       const std::string* container_b, const PidSet& reused) {
    const images::Checkpoint& a = first.checkpoint;
    const images::Checkpoint& b = second.checkpoint;
    SystemDiff diff;
    if (a.hostname && b.hostname && *a.hostname != *b.hostname) {
        diff.changes.push_back({"hostname", *a.hostname, *b.hostname});
    }
    auto before = mounts_of(a), after = mounts_of(b);
    compare_maps(diff.changes, "mount ", before, after);
    for (const auto& [place, mount] : before) {
        auto now = after.find(place);
        diff.mounts_unchanged += now != after.end() && now->second == mount;
    }
    compare_namespaces(diff.changes, first, second, reused);
    auto old_fields = container_fields(container_a, "first", diff.findings);
    auto new_fields = container_fields(container_b, "second", diff.findings);
    diff.container_compared = old_fields && new_fields;
    if (diff.container_compared) compare_maps(diff.changes, "container ", *old_fields, *new_fields);
    return diff;
}

}  // namespace cprewind::inspect

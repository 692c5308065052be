#include "inspect/report.h"

#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <map>

#include "base/error.h"
#include "base/text.h"
#include "images/pages.h"
#include "inspect/creds.h"
#include "inspect/file_content.h"
#include "inspect/mounts.h"
#include "inspect/names.h"
#include "inspect/ps.h"
#include "inspect/sockets.h"

namespace cprewind::inspect {

namespace {

using images::Mapping;
using images::MappingKind;
using images::Process;

struct Looker {
    Moment moment;
    const ReportInput& input;
    Report report;
    std::map<std::string, const images::LayerEntry*> layer;  // by path, with "/"
    uint64_t code_pages_unchecked = 0;

    void add(OddityKind kind, const Process* process, std::string what, std::string evidence) {
        report.oddities.push_back({kind, process != nullptr ? std::optional(process->pid) : std::nullopt,
                                   std::move(what), std::move(evidence)});
    }
};

std::string range_text(const Mapping& mapping) {
    return fmt::format("{:x}-{:x} {}", mapping.start, mapping.end, images::protection_text(mapping));
}

bool is_executable(const Mapping& mapping) {
    return (mapping.protection & PROT_EXEC) != 0;
}

void look_at_protection(Looker& looker, const Process& process) {
    for (const Mapping& mapping : process.mappings) {
        bool both = is_executable(mapping) && (mapping.protection & PROT_WRITE) != 0;
        if (!both || mapping.is_file()) continue;
        looker.add(OddityKind::writable_code, &process,
                   fmt::format("{} of {} memory are writable and executable",
                               base::human_bytes(mapping.size()), name_of(mapping.kind)),
                   range_text(mapping));
    }
}

void look_at_origin(Looker& looker, const Process& process) {
    std::set<std::string> told;
    for (const Mapping& mapping : process.mappings) {
        if (!is_executable(mapping) || !mapping.file_id) continue;
        const images::File* file = looker.moment.checkpoint.find_file(*mapping.file_id);
        if (file == nullptr || !told.insert(mapping.path).second) continue;
        const char* from = nullptr;
        if (file->kind == images::FileKind::memfd) {
            from = "a memfd";
        } else if (file->deleted) {
            from = "a deleted file";
        } else {
            const images::Mount* mount = mount_beside_root(looker.moment.checkpoint, mapping.path);
            if (mount != nullptr && mount->filesystem == "tmpfs") from = "a file on tmpfs";
        }
        if (from != nullptr)
            looker.add(OddityKind::unusual_execution, &process,
                       fmt::format("code from {}: {}", from, mapping.path), range_text(mapping));
    }
}

// Bytes of the file at `path`, from the writable layer or from elsewhere. What the layer has below a mountpoint is what
// the mount hides.
std::optional<std::string> file_bytes(Looker& looker, const std::string& path, uint64_t offset,
                                      uint64_t size) {
    auto entry = mount_beside_root(looker.moment.checkpoint, path) != nullptr ? looker.layer.end()
                                                                              : looker.layer.find(path);
    if (entry != looker.layer.end() && entry->second->type == images::FileType::regular) {
        if (!entry->second->hard_link_to.empty()) {
            entry = looker.layer.find("/" + entry->second->hard_link_to);
            if (entry == looker.layer.end()) return std::nullopt;
        }
        try {
            return read_content(*entry->second, looker.input.layer_data, offset, size);
        } catch (const base::Error&) {
            return std::nullopt;
        }
    }
    return looker.input.read_file ? looker.input.read_file(path, offset, size) : std::nullopt;
}

// Of a private file mapping CRIU dumps those pages that are no longer the file's own, so these are what to compare.
void look_at_code(Looker& looker, const Process& process) {
    std::optional<images::AddressSpace> memory;
    for (const Mapping& mapping : process.mappings) {
        if (!is_executable(mapping) || mapping.kind != MappingKind::file_private) continue;
        if (!memory) memory.emplace(looker.moment.source, process, looker.report.findings);
        uint64_t page = memory->page_size(), different = 0, unchecked = 0, first = 0;
        memory->visit(mapping.start, mapping.size(), [&](const images::AddressSpace::Part& part) {
            if (part.state != images::PageState::present || part.pages == nullptr) return;
            std::vector<std::byte> ours(static_cast<size_t>(page));
            for (uint64_t at = 0; at < part.bytes; at += page) {
                uint64_t place = mapping.offset + (part.address + at - mapping.start);
                auto theirs = file_bytes(looker, mapping.path, place, page);
                if (!theirs) {
                    ++unchecked;
                    continue;
                }
                theirs->resize(static_cast<size_t>(page), '\0');  // behind its end
                part.pages->read_run(*part.run, part.run_address + at, ours);
                if (std::memcmp(ours.data(), theirs->data(), ours.size()) == 0) continue;
                if (different++ == 0) first = part.address + at;
            }
        });
        looker.code_pages_unchecked += unchecked;
        if (different == 0) continue;
        looker.add(OddityKind::changed_code, &process,
                   fmt::format("{} of code differ from {}", base::counted(different, "page"), mapping.path),
                   fmt::format("{}, first at {:#x}", range_text(mapping), first));
    }
}

void look_at_environment(Looker& looker, images::MemoryWindow& memories, const Process& process) {
    bool complete = false;
    for (const std::string& variable : read_environment(memories, process, complete)) {
        for (const char* name : {"LD_PRELOAD=", "LD_AUDIT="}) {
            if (variable.starts_with(name))
                looker.add(OddityKind::preload, &process, variable, "environment");
        }
    }
}

void look_at_executable(Looker& looker, const Process& process) {
    if (process.executable.empty() || looker.input.layer == nullptr) return;
    if (const images::Mount* mount = mount_beside_root(looker.moment.checkpoint, process.executable)) {
        looker.add(
            OddityKind::foreign_executable, &process,
            fmt::format("runs {}, which is not the container image's: it is on a mount", process.executable),
            fmt::format("{} at {}", mount->filesystem, mount->mountpoint));
        return;
    }
    auto entry = looker.layer.find(process.executable);
    if (entry == looker.layer.end()) return;
    if (entry->second->is_whiteout()) {
        looker.add(OddityKind::foreign_executable, &process,
                   fmt::format("runs {}, which was removed from the container", process.executable),
                   "whiteout");
        return;
    }
    looker.add(OddityKind::foreign_executable, &process,
               fmt::format("runs {}, which is not the container image's: it is in the writable layer",
                           process.executable),
               entry->second->digest ? "sha256 " + entry->second->digest->hex() : process.executable);
}

void look_at_rights(Looker& looker, const Process& process) {
    if (!process.credentials) return;
    const images::Credentials& who = *process.credentials;
    uint64_t has = who.cap_permitted | who.cap_effective | who.cap_ambient;
    uint64_t extra = has & ~k_docker_capabilities;
    if (extra != 0) {
        looker.add(OddityKind::capabilities, &process, "capabilities beyond Docker's default",
                   base::join(capability_names(extra), " "));
    }
    bool set_uid = who.uid != who.euid || who.uid != who.suid;
    bool set_gid = who.gid != who.egid || who.gid != who.sgid;
    if (set_uid || set_gid) {
        looker.add(OddityKind::set_id, &process, "runs under another user or group than its own",
                   fmt::format("user {} (real {}, saved {}), group {} (real {}, saved {})", who.euid, who.uid,
                               who.suid, who.egid, who.gid, who.sgid));
    }
}

std::string port_of(const std::string& address) {
    size_t colon = address.rfind(':');
    return colon == std::string::npos ? "" : address.substr(colon + 1);
}

void look_at_sockets(Looker& looker) {
    SocketView view = list_sockets(looker.moment);
    looker.report.findings.insert(looker.report.findings.end(), view.findings.begin(), view.findings.end());
    bool any = false;
    for (const SocketRow& row : view.rows) {
        const Process* process =
            row.holders.empty() ? nullptr : looker.moment.checkpoint.find_process(row.holders.front().pid);
        std::string evidence = row.holders.empty() ? fmt::format("file {}", row.file_id)
                                                   : fmt::format("descriptor {}", row.holders.front().fd);
        if (row.family == "packet" || row.type == "raw")
            looker.add(OddityKind::sniffer, process, fmt::format("a {} {} socket", row.family, row.type),
                       evidence);
        if (!row.listening || !row.family.starts_with("inet")) continue;
        any = true;
        if (!looker.input.exposed || looker.input.exposed->contains(port_of(row.local) + "/" + row.protocol))
            continue;
        looker.add(OddityKind::unexpected_listener, process,
                   fmt::format("listens on {} {}, which the container image does not EXPOSE", row.protocol,
                               row.local),
                   evidence);
    }
    if (any && !looker.input.exposed)
        looker.report.unchecked.emplace_back(
            "listeners against EXPOSE: the container's configuration is not with the checkpoint");
}

void look_at_layer(Looker& looker) {
    if (looker.input.layer == nullptr) {
        looker.report.unchecked.emplace_back(
            "programs and set-uid files in the writable layer: the layer is not with the checkpoint");
        return;
    }
    constexpr uint32_t k_set_id = 06000;
    for (const images::LayerEntry& entry : looker.input.layer->entries) {
        if (entry.type != images::FileType::regular) continue;
        if ((entry.mode & k_set_id) != 0) {
            looker.add(OddityKind::set_id, nullptr,
                       fmt::format("/{} in the writable layer is set-{}", entry.path,
                                   (entry.mode & 04000) != 0 ? "uid" : "gid"),
                       fmt::format("mode {:04o}, owner {}:{}", entry.mode, entry.uid, entry.gid));
        }
        if (entry.path == "etc/ld.so.preload")
            looker.add(OddityKind::preload, nullptr, "/etc/ld.so.preload is in the writable layer",
                       fmt::format("{} bytes", entry.size));
    }
}

}  // namespace

const char* name_of(OddityKind kind) {
    switch (kind) {
        case OddityKind::writable_code:
            return "writable-code";
        case OddityKind::changed_code:
            return "changed-code";
        case OddityKind::unusual_execution:
            return "unusual-execution";
        case OddityKind::preload:
            return "preload";
        case OddityKind::unexpected_listener:
            return "unexpected-listener";
        case OddityKind::capabilities:
            return "capabilities";
        case OddityKind::foreign_executable:
            return "foreign-executable";
        case OddityKind::set_id:
            return "set-id";
        case OddityKind::sniffer:
            break;
    }
    return "sniffer";
}

Report make_report(Moment moment, const ReportInput& input) {
    Looker looker{moment, input, {}, {}};
    if (input.layer != nullptr) {
        for (const images::LayerEntry& entry : input.layer->entries) looker.layer["/" + entry.path] = &entry;
    }
    images::MemoryWindow memories(moment.checkpoint, moment.source, images::ExpectedStrings::environment,
                                  looker.report.findings);
    for (const Process& process : moment.checkpoint.processes) {
        if (process.state == images::ProcessState::zombie) continue;
        look_at_protection(looker, process);
        look_at_code(looker, process);
        look_at_origin(looker, process);
        look_at_environment(looker, memories, process);
        look_at_executable(looker, process);
        look_at_rights(looker, process);
    }
    look_at_sockets(looker);
    look_at_layer(looker);
    if (looker.code_pages_unchecked > 0) {
        looker.report.unchecked.push_back(fmt::format(
            "{} of code that the process has of its own: the mapped files are not at hand (--sysroot DIR)",
            base::counted(looker.code_pages_unchecked, "page")));
    }
    std::stable_sort(looker.report.oddities.begin(), looker.report.oddities.end(),
                     [](const Oddity& a, const Oddity& b) { return a.kind < b.kind; });
    return std::move(looker.report);
}

}  // namespace cprewind::inspect

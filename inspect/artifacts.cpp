#include "inspect/artifacts.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <memory>
#include <set>

#include "base/error.h"
#include "images/decoded_file.h"
#include "images/ghosts.h"
#include "images/image_kinds.h"
#include "images/ipc.h"
#include "images/pages.h"
#include "images/queues.h"
#include "images/system.h"

namespace cprewind::inspect {

namespace {

constexpr size_t k_block = 1u << 20;
// A tmpfs of more files than this is listed so far; nobody reads more by eye, and each costs memory.
constexpr size_t k_members_limit = 1'000'000;

struct Lister {
    Moment moment;
    Holders holders;
    ArtifactView view;

    std::vector<Holder> holders_of(uint32_t file_id) const {
        auto found = holders.find(file_id);
        return found == holders.end() ? std::vector<Holder>() : found->second;
    }
    void say(images::FindingKind kind, const std::string& image, std::string message) {
        images::add_finding(view.findings, {kind, image, {}, std::move(message)});
    }
};

std::vector<ArtifactPiece> pieces_of(const images::Ghost& ghost) {
    std::vector<ArtifactPiece> pieces;
    for (const images::GhostPart& part : ghost.parts)
        pieces.push_back({part.file_offset, part.size, ghost.image, part.image_offset});
    return pieces;
}

void add_ghosts(Lister& lister, const std::vector<images::Ghost>& ghosts) {
    for (const images::Ghost& ghost : ghosts) {
        Artifact made;
        made.id = fmt::format("ghost-{:x}", ghost.id);
        made.kind = ArtifactKind::deleted_file;
        made.image = ghost.image;
        made.size = ghost.size;
        made.mode = ghost.mode;
        made.uid = ghost.uid;
        made.gid = ghost.gid;
        made.pieces = pieces_of(ghost);
        if (!ghost.link_target.empty()) made.note = "a symbolic link to " + ghost.link_target;
        for (uint32_t file_id : ghost.files) {
            const images::File* file = lister.moment.checkpoint.find_file(file_id);
            if (file != nullptr && made.name.empty()) made.name = file->path;
            for (const Holder& holder : lister.holders_of(file_id)) made.holders.push_back(holder);
        }
        lister.view.artifacts.push_back(std::move(made));
    }
}

void add_tmpfs(Lister& lister) {
    for (const std::string& name : lister.moment.source.list()) {
        auto found = images::find_image_kind(name);
        if (!found) continue;
        std::string_view kind = found->kind->name;
        bool by_device = kind == "TMPFS_DEV";
        if (!by_device && kind != "TMPFS_IMG") continue;
        std::shared_ptr<const images::ImageFile> stored = lister.moment.source.open(name);
        if (!stored) continue;
        if (images::find_compression(*stored) == images::Compression::gzip)
            stored = std::make_shared<images::DecodedFile>(stored, images::Compression::gzip);
        Artifact made;
        made.id = fmt::format("tmpfs-{}{}", by_device ? "dev-" : "", found->number);
        made.kind = ArtifactKind::tmpfs;
        made.image = name;
        for (const images::Mount& mount : lister.moment.checkpoint.mounts) {
            uint64_t number = by_device ? mount.device : mount.id;
            if (number == found->number && (made.name.empty() || mount.root == "/"))
                made.name = mount.mountpoint;
        }
        images::TarReader reader(stored, name, lister.view.findings);
        while (auto member = reader.next()) {
            made.size += member->type == images::FileType::regular ? member->size : 0;
            made.members.push_back(std::move(*member));
            if (made.members.size() < k_members_limit) continue;
            lister.say(images::FindingKind::unverified, name, "more files than are listed");
            break;
        }
        lister.view.artifacts.push_back(std::move(made));
    }
}

void add_memory_objects(Lister& lister) {
    std::set<uint64_t> listed;
    for (const auto& [id, file] : lister.moment.checkpoint.files) {
        if (file.kind != images::FileKind::memfd || file.path.empty()) continue;
        if (!listed.insert(file.object).second) {
            for (Artifact& artifact : lister.view.artifacts) {
                if (artifact.object != file.object) continue;
                for (const Holder& holder : lister.holders_of(id)) artifact.holders.push_back(holder);
            }
            continue;
        }
        Artifact made;
        made.id = fmt::format("memfd-{}", file.object);
        // The name that CRIU finds for anonymous shared memory, which it dumps like a memfd.
        bool anonymous = file.path == "memfd:/dev/zero";
        made.kind = anonymous ? ArtifactKind::shared_memory : ArtifactKind::memfd;
        made.name = file.path;
        made.image = fmt::format("pagemap-shmem-{}.img", file.object);
        made.size = file.size.value_or(0);
        made.mode = file.mode;
        made.object = file.object;
        made.holders = lister.holders_of(id);
        lister.view.artifacts.push_back(std::move(made));
    }
    for (const images::IpcSegment& segment :
         images::load_ipc(lister.moment.source, lister.view.findings).segments) {
        Artifact made;
        made.id = fmt::format("sysv-{}-{}", segment.owner.ipc_ns, segment.owner.id);
        made.kind = ArtifactKind::shared_memory;
        made.name = fmt::format("System V segment {}, key {:#x}", segment.owner.id, segment.owner.key);
        made.size = segment.size;
        made.mode = segment.owner.mode;
        made.uid = segment.owner.uid;
        made.gid = segment.owner.gid;
        if (segment.in_pagemap) {
            made.object = segment.owner.id;
            made.image = fmt::format("pagemap-shmem-{}.img", segment.owner.id);
            listed.insert(segment.owner.id);
        } else if (segment.content_offset) {
            made.image = fmt::format("ipcns-shm-{}.img", segment.owner.ipc_ns);
            made.pieces.push_back({0, segment.size, made.image, *segment.content_offset});
        }
        lister.view.artifacts.push_back(std::move(made));
    }
    // Memory that is shared but was no file: its size is that of what is mapped of it.
    std::map<uint64_t, Artifact> unnamed;
    for (const images::Process& process : lister.moment.checkpoint.processes) {
        for (const images::Mapping& mapping : process.mappings) {
            if (!mapping.shares_memory() || listed.contains(mapping.shmid)) continue;
            Artifact& made = unnamed[mapping.shmid];
            made.id = fmt::format("shared-{}", mapping.shmid);
            made.kind = ArtifactKind::shared_memory;
            made.name =
                fmt::format("shared memory {}, mapped by process {}", mapping.shmid, process.pid.value);
            made.image = fmt::format("pagemap-shmem-{}.img", mapping.shmid);
            made.object = mapping.shmid;
            bool fits = mapping.size() <= UINT64_MAX - mapping.offset;
            if (fits) made.size = std::max(made.size, mapping.offset + mapping.size());
        }
    }
    for (auto& [object, made] : unnamed) lister.view.artifacts.push_back(std::move(made));
}

std::string queue_id(const images::Queue& queue) {
    switch (queue.kind) {
        case images::QueueKind::pipe:
            return fmt::format("pipe-{}", queue.object);
        case images::QueueKind::fifo:
            return fmt::format("fifo-{}", queue.object);
        case images::QueueKind::packet:
            return fmt::format("socket-{}", queue.object);
        case images::QueueKind::tcp_in:
            return fmt::format("tcp-{}-in", queue.object);
        case images::QueueKind::tcp_out:
            return fmt::format("tcp-{}-out", queue.object);
        case images::QueueKind::tty:
            break;
    }
    return fmt::format("terminal-{}", queue.object);
}

bool is_file_of(const images::Queue& queue, const images::File& file) {
    using images::FileKind;
    using images::QueueKind;
    switch (queue.kind) {
        case QueueKind::pipe:
            return file.kind == FileKind::pipe && file.object == queue.object;
        case QueueKind::fifo:
            return file.kind == FileKind::fifo && file.object == queue.object;
        case QueueKind::packet:
            return file.id == queue.object;
        case QueueKind::tcp_in:
        case QueueKind::tcp_out:
            return file.kind == FileKind::inet_socket && file.object == queue.object;
        case QueueKind::tty:
            break;
    }
    return file.details.tty_id == queue.object;
}

void add_queues(Lister& lister) {
    std::map<std::string, unsigned> seen;
    for (const images::Queue& queue : images::load_queues(lister.moment.source, lister.view.findings)) {
        if (queue.size == 0) continue;
        Artifact made;
        std::string id = queue_id(queue);
        unsigned count = ++seen[id];
        // Packets keep their borders: each is one of its own.
        bool packet = queue.kind == images::QueueKind::packet;
        made.id = packet || count > 1 ? fmt::format("{}-{}", id, count) : id;
        made.kind = ArtifactKind::queue;
        made.image = queue.image;
        made.size = queue.size;
        made.pieces.push_back({0, queue.size, queue.image, queue.offset});
        for (const auto& [file_id, file] : lister.moment.checkpoint.files) {
            if (!is_file_of(queue, file)) continue;
            if (made.name.empty()) made.name = file.description;
            for (const Holder& holder : lister.holders_of(file_id)) made.holders.push_back(holder);
        }
        if (!queue.descriptors.empty())
            made.note = fmt::format("{} open files travel with it", queue.descriptors.size());
        if (queue.kind == images::QueueKind::tcp_out)
            made.note = "written, but not acknowledged by the other side";
        lister.view.artifacts.push_back(std::move(made));
    }
}

const images::Mapping* executable_mapping(const images::Process& process) {
    for (const images::Mapping& mapping : process.mappings) {
        if (mapping.file_id && !process.executable.empty() && mapping.path == process.executable)
            return &mapping;
    }
    return nullptr;
}

void add_executables(Lister& lister, const std::vector<images::Ghost>& ghosts) {
    for (const images::Process& process : lister.moment.checkpoint.processes) {
        const images::Mapping* mapping = executable_mapping(process);
        if (mapping == nullptr) continue;
        const images::File* file = lister.moment.checkpoint.find_file(*mapping->file_id);
        if (file == nullptr || (!file->deleted && file->kind != images::FileKind::memfd)) continue;
        Artifact made;
        made.id = fmt::format("exe-{}", process.pid.value);
        made.kind = ArtifactKind::executable;
        made.name = process.executable;
        made.size = file->size.value_or(0);
        made.mode = file->mode;
        made.holders = lister.holders_of(file->id);
        if (file->kind == images::FileKind::memfd) {
            made.object = file->object;
            made.image = fmt::format("pagemap-shmem-{}.img", file->object);
            made.note = "ran from a memfd";
        } else {
            auto ghost = std::find_if(ghosts.begin(), ghosts.end(), [&](const images::Ghost& each) {
                return std::count(each.files.begin(), each.files.end(), file->id) > 0;
            });
            made.pid = process.pid;
            made.image = fmt::format("pagemap-{}.img", process.pid.value);
            uint64_t in_memory = 0;
            for (const images::Mapping& part : process.mappings) {
                if (part.file_id != mapping->file_id || part.size() > UINT64_MAX - part.offset) continue;
                if (!file->size) made.size = std::max(made.size, part.offset + part.size());
                in_memory += part.size();
            }
            if (ghost != ghosts.end()) {
                made.pid.reset();
                made.pieces = pieces_of(*ghost);
                made.image = ghost->image;
                made.size = ghost->size;
                made.note = "deleted while it ran; whole, since CRIU kept the file";
            } else {
                made.note = fmt::format(
                    "deleted while it ran; from {} mapped bytes, as far as they were dumped, data as the "
                    "program left it",
                    in_memory);
            }
        }
        lister.view.artifacts.push_back(std::move(made));
    }
}

void add_messages(Lister& lister) {
    images::Findings ignored;  // reported with the segments
    for (const images::IpcQueue& queue : images::load_ipc(lister.moment.source, ignored).queues) {
        uint64_t bytes = 0;
        for (const images::IpcMessage& message : queue.messages) bytes += message.text.size();
        if (queue.messages.empty()) continue;
        Artifact made;
        made.id = fmt::format("messages-{}-{}", queue.owner.ipc_ns, queue.owner.id);
        made.kind = ArtifactKind::message;
        made.name = fmt::format("System V queue {}, key {:#x}: {} messages", queue.owner.id, queue.owner.key,
                                queue.messages.size());
        made.image = fmt::format("ipcns-msg-{}.img", queue.owner.ipc_ns);
        made.size = bytes;
        made.mode = queue.owner.mode;
        made.note = "texts one after another; `inspect ipc` shows them apart";
        lister.view.artifacts.push_back(std::move(made));
    }
}

void read_pieces(Moment moment, const std::vector<ArtifactPiece>& pieces, const ArtifactSink& sink) {
    std::vector<std::byte> block(k_block);
    for (const ArtifactPiece& piece : pieces) {
        auto file = moment.source.open(piece.image);
        if (!file) continue;
        for (uint64_t done = 0; done < piece.size;) {
            auto part = std::span(block).subspan(
                0, static_cast<size_t>(std::min<uint64_t>(k_block, piece.size - done)));
            size_t got = file->read_at(piece.image_offset + done, part);
            if (got == 0) break;
            sink(piece.offset + done, part.subspan(0, got));
            done += got;
        }
    }
}

// `shift` takes an address to a place in the artifact.
void read_runs(const images::PageMap& pages, uint64_t begin, uint64_t end, uint64_t shift,
               const ArtifactSink& sink) {
    std::vector<std::byte> block(k_block);
    for (size_t i = pages.find(begin); i < pages.runs().size() && pages.runs()[i].address < end; ++i) {
        const images::PageRun& run = pages.runs()[i];
        if (run.state != images::PageState::present) continue;
        for (uint64_t at = std::max(run.address, begin); at < std::min(run.end(), end);) {
            uint64_t left = std::min(run.end(), end) - at;
            auto part = std::span(block).subspan(0, static_cast<size_t>(std::min<uint64_t>(k_block, left)));
            pages.read_run(run, at, part);
            sink(at + shift, part);
            at += part.size();
        }
    }
}

void read_executable(Moment moment, const Artifact& artifact, const ArtifactSink& sink,
                     images::Findings& findings) {
    const images::Process* process = moment.checkpoint.find_process(*artifact.pid);
    const images::Mapping* first = process != nullptr ? executable_mapping(*process) : nullptr;
    if (first == nullptr) return;
    images::PageMap pages = images::PageMap::open_process(moment.source, process->pid, findings);
    // What the program cannot have changed wins where two mappings show the same page of the file.
    for (bool writable : {true, false}) {
        for (const images::Mapping& mapping : process->mappings) {
            constexpr uint32_t k_write = 2;  // PROT_WRITE
            if (mapping.file_id != first->file_id || ((mapping.protection & k_write) != 0) != writable)
                continue;
            read_runs(pages, mapping.start, mapping.end, mapping.offset - mapping.start, sink);
        }
    }
}

}  // namespace

const char* name_of(ArtifactKind kind) {
    switch (kind) {
        case ArtifactKind::deleted_file:
            return "deleted file";
        case ArtifactKind::tmpfs:
            return "tmpfs";
        case ArtifactKind::memfd:
            return "memfd";
        case ArtifactKind::shared_memory:
            return "shared memory";
        case ArtifactKind::queue:
            return "unread bytes";
        case ArtifactKind::message:
            return "messages";
        case ArtifactKind::executable:
            break;
    }
    return "executable";
}

ArtifactView list_artifacts(Moment moment) {
    Lister lister{moment, find_holders(moment.checkpoint), {}};
    std::vector<images::Ghost> ghosts = images::load_ghosts(moment.source, lister.view.findings);
    add_ghosts(lister, ghosts);
    add_executables(lister, ghosts);
    add_tmpfs(lister);
    add_memory_objects(lister);
    add_queues(lister);
    add_messages(lister);
    return std::move(lister.view);
}

void read_artifact(Moment moment, const Artifact& artifact, const ArtifactSink& sink,
                   images::Findings& findings) {
    // Pages go on where the file has ended; nothing may lie behind `size`.
    ArtifactSink within = [&](uint64_t offset, std::span<const std::byte> bytes) {
        if (offset >= artifact.size) return;
        sink(offset,
             bytes.subspan(0, static_cast<size_t>(std::min<uint64_t>(bytes.size(), artifact.size - offset))));
    };
    if (artifact.kind == ArtifactKind::message) {
        uint64_t offset = 0;
        for (const images::IpcQueue& queue : images::load_ipc(moment.source, findings).queues) {
            if (artifact.id != fmt::format("messages-{}-{}", queue.owner.ipc_ns, queue.owner.id)) continue;
            for (const images::IpcMessage& message : queue.messages) {
                within(offset, std::as_bytes(std::span(message.text)));
                offset += message.text.size();
            }
        }
        return;
    }
    read_pieces(moment, artifact.pieces, within);
    if (artifact.object) {
        images::PageMap pages = images::PageMap::open_shared(moment.source, *artifact.object, findings);
        read_runs(pages, 0, UINT64_MAX, 0, within);
    }
    if (artifact.pid) read_executable(moment, artifact, within, findings);
}

void read_member(Moment moment, const Artifact& artifact, const images::TarMember& member,
                 const ArtifactSink& sink) {
    std::shared_ptr<const images::ImageFile> file = moment.source.open(artifact.image);
    if (!file) return;
    if (images::find_compression(*file) == images::Compression::gzip)
        file = std::make_shared<images::DecodedFile>(file, images::Compression::gzip);
    std::vector<std::byte> block(k_block);
    for (uint64_t done = 0; done < member.size;) {
        auto part =
            std::span(block).subspan(0, static_cast<size_t>(std::min<uint64_t>(k_block, member.size - done)));
        size_t got = file->read_at(member.data_offset + done, part);
        if (got == 0) return;
        sink(done, part.subspan(0, got));
        done += got;
    }
}

}  // namespace cprewind::inspect

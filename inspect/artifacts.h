// What a checkpoint holds that no file system has any more: files without names, tmpfs contents, memory that is a file,
// bytes that nobody had read yet, and executables whose file is gone.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "images/tar_reader.h"
#include "inspect/holders.h"
#include "inspect/moment.h"

namespace cprewind::inspect {

enum class ArtifactKind { deleted_file, tmpfs, memfd, shared_memory, queue, message, executable };
const char* name_of(ArtifactKind kind);

// A part of the content that lies in an image.
struct ArtifactPiece {
    uint64_t offset = 0;  // in the artifact
    uint64_t size = 0;
    std::string image;
    uint64_t image_offset = 0;
};

struct Artifact {
    std::string id;  // "ghost-1", "memfd-5114", "pipe-17-in": letters, digits, "-"; stable for a checkpoint
    ArtifactKind kind = ArtifactKind::deleted_file;
    std::string name;   // path, or what it is
    std::string image;  // where it was found
    uint64_t size = 0;  // holes included; tmpfs: of its files
    std::optional<uint32_t> mode, uid, gid;
    std::vector<Holder> holders;
    std::string note;  // what one should know about its content, "" nothing

    // How to read it: one of these.
    std::vector<ArtifactPiece> pieces;
    std::optional<uint64_t> object;          // shared memory
    std::optional<images::DumpPid> pid;      // executable: from the memory of this process
    std::vector<images::TarMember> members;  // tmpfs
};

struct ArtifactView {
    std::vector<Artifact> artifacts;
    images::Findings findings;
};

ArtifactView list_artifacts(Moment moment);

// Gives the content of an artifact other than a tmpfs piece by piece, `offset` in the artifact; what is not given is
// zeros. A page of memory may be given twice; the last one counts.
using ArtifactSink = std::function<void(uint64_t offset, std::span<const std::byte> bytes)>;
void read_artifact(Moment moment, const Artifact& artifact, const ArtifactSink& sink,
                   images::Findings& findings);

// Content of a regular file in a tmpfs.
void read_member(Moment moment, const Artifact& artifact, const images::TarMember& member,
                 const ArtifactSink& sink);

}  // namespace cprewind::inspect

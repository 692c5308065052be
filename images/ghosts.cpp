#include "images/ghosts.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <map>

#include "images/image_kinds.h"
#include "images/image_reader.h"
#include "images/proto/content.pb.h"
#include "images/proto/files.pb.h"

namespace cprewind::images {

namespace {

std::map<uint64_t, std::vector<uint32_t>> read_remaps(const ImageSource& source, Findings& findings) {
    std::map<uint64_t, std::vector<uint32_t>> out;
    if (!source.open("remap-fpath.img")) return out;
    auto reader = ImageReader::open(source, "remap-fpath.img", image_kind("REMAP_FPATH"), findings);
    criu::remap_file_path_entry entry;
    while (reader && reader->next(entry)) {
        // Writers before the type had ghosts only.
        if (!entry.has_remap_type() || entry.remap_type() == criu::GHOST)
            out[entry.remap_id()].push_back(entry.orig_id());
    }
    return out;
}

void read_content(const ImageFile& file, const criu::ghost_file_entry& entry, ImageReader& reader,
                  Ghost& ghost) {
    if (!entry.chunks()) {
        uint64_t rest = file.size() - std::min(file.size(), reader.offset());
        ghost.size = rest;
        if (rest > 0) ghost.parts.push_back({0, rest, reader.offset()});
        return;
    }
    ghost.size = entry.size();
    criu::ghost_chunk_entry chunk;
    while (reader.next(chunk)) {
        uint64_t offset = reader.offset();
        if (!reader.skip(chunk.len())) return;
        if (chunk.off() > ghost.size || chunk.len() > ghost.size - chunk.off()) {
            reader.report(FindingKind::damaged, fmt::format("a chunk of {} bytes at {} of a file of {} bytes",
                                                            chunk.len(), chunk.off(), ghost.size));
            continue;
        }
        ghost.parts.push_back({chunk.off(), chunk.len(), offset});
    }
}

// What the open files that had these contents were long when they were dumped, by id; of those of which it was noted.
std::map<uint32_t, uint64_t> read_sizes(const ImageSource& source) {
    std::map<uint32_t, uint64_t> out;
    Findings ignored;  // reported where the model is made
    if (!source.open("files.img")) return out;
    auto reader = ImageReader::open(source, "files.img", image_kind("FILES"), ignored);
    criu::file_entry entry;
    while (reader && reader->next(entry)) {
        if (entry.reg().has_size()) out[entry.id()] = entry.reg().size();
    }
    return out;
}

// A content that is all the rest of its image may have been cut anywhere.
void check_size(const Ghost& ghost, const std::map<uint32_t, uint64_t>& sizes, Findings& findings) {
    for (uint32_t id : ghost.files) {
        auto size = sizes.find(id);
        if (!S_ISREG(ghost.mode) || size == sizes.end() || ghost.size >= size->second) continue;
        add_finding(findings, {FindingKind::truncated,
                               ghost.image,
                               {},
                               fmt::format("it holds {} bytes of a file of {}", ghost.size, size->second)});
        return;
    }
}

}  // namespace

std::vector<Ghost> load_ghosts(const ImageSource& source, Findings& findings) {
    std::vector<Ghost> ghosts;
    auto remaps = read_remaps(source, findings);
    std::map<uint32_t, uint64_t> sizes;
    if (!remaps.empty()) sizes = read_sizes(source);
    for (const std::string& name : source.list()) {
        auto found = find_image_kind(name);
        if (!found || std::string_view(found->kind->name) != "GHOST_FILE") continue;
        auto file = source.open(name);
        auto reader = ImageReader::open(source, name, *found->kind, findings);
        criu::ghost_file_entry entry;
        if (!file || !reader || !reader->next(entry)) continue;
        Ghost ghost;
        ghost.id = found->number;
        ghost.image = name;
        ghost.mode = entry.mode();
        ghost.uid = entry.uid();
        ghost.gid = entry.gid();
        ghost.link_target = entry.symlnk_target();
        auto files = remaps.find(found->number);
        if (files != remaps.end()) {
            ghost.files = files->second;
        } else {
            add_finding(findings,
                        {FindingKind::damaged, name, {}, "no open file is said to have this content"});
        }
        read_content(*file, entry, *reader, ghost);
        check_size(ghost, sizes, findings);
        remaps.erase(found->number);
        ghosts.push_back(std::move(ghost));
    }
    for (const auto& [number, ids] : remaps) {
        add_finding(findings,
                    {FindingKind::absent,
                     image_file_name(image_kind("GHOST_FILE"), number),
                     {},
                     fmt::format("this image is not there, but file {} has its content in it", ids.front())});
    }
    std::sort(ghosts.begin(), ghosts.end(), [](const Ghost& a, const Ghost& b) { return a.id < b.id; });
    return ghosts;
}

}  // namespace cprewind::images

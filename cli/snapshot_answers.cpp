#include "cli/snapshot_answers.h"

#include <fcntl.h>

#include <map>

#include "base/fd.h"
#include "base/text.h"
#include "cli/json_text.h"
#include "cli/views.h"
#include "engine/snapshot_files.h"
#include "inspect/file_content.h"

namespace cprewind::cli {

namespace {

namespace fs = std::filesystem;

void write_new(const fs::path& path, std::string_view text) {
    base::Fd file = base::open_file(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW);
    base::write_full(file.get(), std::as_bytes(std::span(text)), path.string());
}

bool stays_inside(const std::string& target) {
    if (target.empty() || target.front() == '/') return false;
    for (const std::string& part : base::split(target, '/')) {
        if (part == "..") return false;
    }
    return true;
}

bool is_real_directory(const fs::path& path) {
    return fs::is_directory(fs::symlink_status(path));
}

// Parents come before what they hold, and a parent that is a link is never one of ours to walk through: parse_layer()
// has seen to the first, and what lies below a link in the list is left out here.
void write_tree(const images::LayerTree& tree, const images::ImageFile* data, const fs::path& root) {
    constexpr uint64_t k_piece = 4u << 20;
    for (const images::LayerEntry& entry : tree.entries) {
        if (entry.path.empty()) continue;
        fs::path path = root / entry.path;
        if (!is_real_directory(path.parent_path()) || fs::exists(fs::symlink_status(path))) continue;
        if (entry.type == images::FileType::directory) {
            fs::create_directory(path);
        } else if (entry.type == images::FileType::symlink && stays_inside(entry.link_target)) {
            fs::create_symlink(entry.link_target, path);
        } else if (entry.type == images::FileType::regular && !entry.hard_link_to.empty()) {
            fs::path first = root / entry.hard_link_to;
            if (fs::is_regular_file(fs::symlink_status(first))) fs::create_hard_link(first, path);
        } else if (entry.type == images::FileType::regular) {
            base::Fd file = base::open_file(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW);
            for (uint64_t at = 0; at < entry.size; at += k_piece) {
                std::string piece = inspect::read_content(entry, data, at, k_piece);
                base::write_full(file.get(), std::as_bytes(std::span(piece)), path.string());
            }
        }
    }
}

// Each where the container has it, those that hold others first. One whose place another one has taken for a file or a
// link is left out.
void write_volumes(const Subject& subject, const fs::path& root) {
    std::map<fs::path, const images::FileTree*> sorted;
    for (const images::FileTree& tree : subject.trees) {
        fs::path place = tree.destination.empty() ? tree_title(tree) : tree.destination;
        sorted.emplace(place.lexically_normal().relative_path(), &tree);
    }
    for (const auto& [place, tree] : sorted) {
        fs::path path = root;
        bool there = true;
        for (const fs::path& part : place) {
            path /= part;
            if (there && part != ".." && !fs::exists(fs::symlink_status(path))) fs::create_directory(path);
            there = there && part != ".." && is_real_directory(path);
        }
        if (there) write_tree(tree->tree, tree->data.get(), path);
    }
}

}  // namespace

void write_answers(Context& context, const Subject& subject, const fs::path& directory) {
    Context quiet{context.repository, true, context.verbose, context.output};
    for (const View& view : views()) {
        Json document;
        document["subject"] = subject.name;
        images::Findings findings = subject.checkpoint.findings;
        view.show(quiet, {subject, {}}, document, findings);
        document["findings"] = findings_json(findings);
        write_new(directory / (std::string(view.name) + ".json"), document.dump(2) + "\n");
    }
    if (auto container = images::read_whole(*subject.files, engine::k_container_file)) {
        write_new(directory / engine::k_container_file, *container);
    }
    fs::create_directory(directory / "files");
    if (subject.layer)
        write_tree(*subject.layer, subject.files->open(engine::k_layer_data).get(), directory / "files");
    fs::create_directory(directory / "volumes");
    write_volumes(subject, directory / "volumes");
}

}  // namespace cprewind::cli

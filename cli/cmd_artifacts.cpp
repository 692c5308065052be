// `cprewind artifacts`: what only the checkpoint has any more, listed and written out.
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <set>

#include "base/error.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/json_text.h"
#include "cli/options.h"
#include "cli/output_tree.h"
#include "cli/subject.h"
#include "cli/view_tools.h"
#include "inspect/artifacts.h"

namespace cprewind::cli {

const char* const k_artifacts_help = R"(Examples:
  cprewind artifacts web@3                          what there is
  cprewind artifacts web@3 --extract out            all of it, one file each (a tmpfs: a directory)
  cprewind artifacts ./checkpoint --extract out ghost-1 pipe-17
  cprewind artifacts web.tar --json

Usage: cprewind artifacts SNAPSHOT [--extract DIR] [ID…]

Lists what no file system has any more: files that were deleted while open, the content of tmpfs mounts, memfds, shared
memory, bytes that nobody had read yet (pipes, FIFOs, sockets, terminals, message queues), and executables whose file is
gone.

  --extract DIR   write them to new files below DIR, named by their IDs; nothing that is there is overwritten, no link is
                  followed. Links and devices in a tmpfs are told, not made.

Exit status: 0 done, 1 failed, 2 usage, 3 done, with findings.)";

namespace {

using inspect::Artifact;

// Whether an artifact was chosen by the words on the command line; each word must choose one.
std::vector<const Artifact*> choose(const std::vector<Artifact>& artifacts,
                                    const std::vector<std::string>& words) {
    std::vector<const Artifact*> chosen;
    std::vector<std::string> ids;
    for (const Artifact& artifact : artifacts) ids.push_back(artifact.id);
    std::set<std::string> wanted(words.begin() + 1, words.end());
    for (const Artifact& artifact : artifacts) {
        if (words.size() > 1 && wanted.erase(artifact.id) == 0) continue;
        chosen.push_back(&artifact);
    }
    if (!wanted.empty()) {
        std::string hint = base::did_you_mean(*wanted.begin(), ids);
        throw base::Error(base::ErrorKind::not_found,
                          fmt::format("there is no artifact '{}'", base::escape(*wanted.begin())),
                          hint.empty() ? "`cprewind artifacts SNAPSHOT` lists them" : hint);
    }
    return chosen;
}

void write_file(base::Fd& file, uint64_t size, const std::string& name,
                const std::function<void(const inspect::ArtifactSink&)>& read) {
    // Holes stay holes.
    if (ftruncate(file.get(), static_cast<off_t>(std::min<uint64_t>(size, INT64_MAX))) != 0)
        base::throw_errno(errno, "write " + name);
    read([&](uint64_t offset, std::span<const std::byte> bytes) {
        base::pwrite_full(file.get(), bytes, offset, name);
    });
}

// Directories and regular files; what else there is comes back as sentences.
std::vector<std::string> extract_tmpfs(const Subject& subject, const Artifact& artifact, OutputTree& tree) {
    std::vector<std::string> left_out;
    tree.make_directory(artifact.id);
    for (const images::TarMember& member : artifact.members) {
        if (member.path.empty()) continue;
        std::string path = artifact.id + "/" + member.path;
        try {
            if (member.type == images::FileType::directory) {
                tree.make_directory(path);
            } else if (member.type == images::FileType::regular && !member.is_hard_link) {
                base::Fd file = tree.create_file(path);
                write_file(file, member.size, path, [&](const inspect::ArtifactSink& sink) {
                    inspect::read_member(subject.moment(), artifact, member, sink);
                });
            } else {
                std::string target = member.link_target.empty() ? "" : " to " + member.link_target;
                left_out.push_back(fmt::format(
                    "{}: a {}{}", path, member.is_hard_link ? "hard link" : name_of(member.type), target));
            }
        } catch (const base::Error& error) {
            // A name twice, or one that is too long here: the others can be written all the same.
            left_out.push_back(fmt::format("{}: {}", path, error.message()));
        }
    }
    return left_out;
}

Json members_json(const Artifact& artifact) {
    if (artifact.kind != inspect::ArtifactKind::tmpfs) return {};
    Json list = Json::array();
    for (const images::TarMember& member : artifact.members) {
        Json item;
        put_bytes(item, "path", "/" + member.path);
        item["type"] = member.is_hard_link ? "hard link" : name_of(member.type);
        item["mode"] = fmt::format("{:04o}", member.mode);
        item["uid"] = member.uid;
        item["gid"] = member.gid;
        item["size"] = member.size;
        put_bytes(item, "link_target", member.link_target);
        list.push_back(std::move(item));
    }
    return list;
}

Json artifact_json(const Artifact& artifact) {
    constexpr uint32_t k_permissions = 07777;
    Json item;
    item["id"] = artifact.id;
    item["kind"] = inspect::name_of(artifact.kind);
    put_bytes(item, "name", artifact.name);
    item["image"] = artifact.image;
    item["size_bytes"] = artifact.size;
    item["mode"] = artifact.mode ? Json(fmt::format("{:04o}", *artifact.mode & k_permissions)) : Json();
    item["uid"] = or_null(artifact.uid);
    item["gid"] = or_null(artifact.gid);
    item["holders"] = holders_json(artifact.holders);
    put_bytes(item, "note", artifact.note);
    item["members"] = members_json(artifact);
    return item;
}

}  // namespace

int run_artifacts(Context& context, const std::vector<std::string>& arguments) {
    po::options_description options;
    options.add_options()("extract", po::value<std::string>());
    Parsed parsed = parse_words(arguments, options, 1, SIZE_MAX, "SNAPSHOT");
    Subject subject = open_subject(context, parsed.words[0]);
    inspect::ArtifactView view = inspect::list_artifacts(subject.moment());
    images::Findings findings = subject.checkpoint.findings;
    append(findings, view.findings);
    std::vector<const Artifact*> chosen = choose(view.artifacts, parsed.words);

    std::optional<OutputTree> tree;
    if (parsed.has("extract")) tree.emplace(parsed.text("extract"));
    Table table({"id", "kind", "size", "held by", "name"});
    table.right({2});
    Json list = Json::array();
    std::vector<std::string> left_out;
    for (const Artifact* artifact : chosen) {
        Json item = artifact_json(*artifact);
        item["extracted_to"] = nullptr;
        if (tree) {
            if (artifact->kind == inspect::ArtifactKind::tmpfs) {
                std::vector<std::string> more = extract_tmpfs(subject, *artifact, *tree);
                left_out.insert(left_out.end(), more.begin(), more.end());
            } else {
                base::Fd file = tree->create_file(artifact->id);
                write_file(file, artifact->size, artifact->id, [&](const inspect::ArtifactSink& sink) {
                    inspect::read_artifact(subject.moment(), *artifact, sink, findings);
                });
            }
            put_bytes(item, "extracted_to", parsed.text("extract") + "/" + artifact->id);
        }
        list.push_back(std::move(item));
        std::string files =
            artifact->members.empty() ? "" : fmt::format(" ({} entries)", artifact->members.size());
        std::string note = artifact->note.empty() ? "" : "; " + base::escape(artifact->note);
        table.add({artifact->id, inspect::name_of(artifact->kind), base::human_bytes(artifact->size),
                   holders_text(artifact->holders, 4), base::escape(artifact->name) + files + note});
    }
    if (context.json) {
        Json document;
        document["subject"] = subject.name;
        document["artifacts"] = std::move(list);
        document["left_out"] = Json::array();
        for (const std::string& each : left_out) document["left_out"].push_back(base::escape(each));
        document["findings"] = findings_json(findings);
        context.output.json(document);
    } else {
        if (table.empty()) {
            context.output.line("nothing that only the checkpoint has");
        } else {
            context.output.table(table);
        }
        for (const std::string& each : left_out) context.output.line("not made: " + base::escape(each));
        print_findings(context.output, findings);
    }
    return findings.empty() ? exit_done : exit_findings;
}

}  // namespace cprewind::cli

#include "engine/suspend.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/fd.h"
#include "engine/container.h"
#include "engine/rewind.h"

namespace cprewind::engine {
namespace {

using base::Error;
using base::ErrorKind;
using nlohmann::json;
using Fate = MovedContainer::Fate;
namespace fs = std::filesystem;

constexpr const char* k_directory = "suspended";

// The file of one suspended container.
struct Note {
    std::string id;
    std::string name;
    std::string began;  // RFC 3339
    std::optional<store::SnapshotId> snapshot;
};

fs::path note_path(const store::Repository& repository, const std::string& id) {
    return repository.path() / k_directory / id;
}

void write_note(const store::Repository& repository, const Note& note) {
    base::make_private_directory(repository.path() / k_directory);
    json document = {{"version", 1}, {"name", note.name}, {"began", note.began}, {"snapshot", nullptr}};
    if (note.snapshot) document["snapshot"] = *note.snapshot;
    base::replace_file(note_path(repository, note.id), document.dump() + "\n");
}

void drop_note(const store::Repository& repository, const std::string& id) {
    std::error_code ignored;
    fs::remove(note_path(repository, id), ignored);
}

std::vector<Note> read_notes(const store::Repository& repository) {
    std::vector<Note> notes;
    std::error_code none;
    for (const fs::directory_entry& entry : fs::directory_iterator(repository.path() / k_directory, none)) {
        std::string id = entry.path().filename().string();
        if (id.size() != 64 || id.find_first_not_of("0123456789abcdef") != id.npos) continue;
        json document = json::parse(base::read_file(entry.path()), nullptr, false);
        if (!document.is_object() || document.value("version", 0) != 1) {
            throw Error(ErrorKind::unsupported,
                        fmt::format("{} is not a note of this version", entry.path().string()),
                        "a newer cprewind wrote it: use that one");
        }
        Note note{id, document.value("name", ""), document.value("began", ""), std::nullopt};
        if (document["snapshot"].is_string()) note.snapshot = document["snapshot"].get<std::string>();
        notes.push_back(note);
    }
    std::sort(notes.begin(), notes.end(), [](const Note& a, const Note& b) { return a.began < b.began; });
    return notes;
}

// Why a container could not be brought back, or nothing: asked before it is stopped.
std::optional<Error> cannot_come_back(DockerClient& docker, const Container& container) {
    if (container.auto_remove) {
        return Error(ErrorKind::unsupported, "it was started with --rm: Docker removes it when it stops",
                     "start it without --rm");
    }
    json info = docker.info();
    json::json_pointer at("/Runtimes/" + container.runtime + "/path");
    std::string path = info.contains(at) && info.at(at).is_string() ? info.at(at).get<std::string>() : "";
    bool ours = fs::path(path).filename() == "cprewind-runtime";
    bool docker_can =
        docker.version().experimental && (docker.version().major() < 28 || container.network_mode == "host" ||
                                          container.network_mode.starts_with("container:"));
    if (ours || docker_can) return std::nullopt;
    return Error(ErrorKind::unsupported,
                 fmt::format("it was created with the runtime '{}', under which it cannot be restored",
                             base::escape(container.runtime)),
                 "create it with --runtime cprewind, or: cprewind setup --default-runtime");
}

std::vector<std::string> chosen_names(DockerClient& docker, const SuspendRequest& request) {
    std::vector<std::string> names = request.names;
    for (const json& container : docker.containers()) {
        std::string state = container.value("State", "");
        if (!request.all || (state != "running" && state != "paused")) continue;
        if (has_labels(container.value("Labels", json::object()), request.labels))
            names.push_back(container.value("Id", ""));
    }
    return names;
}

void fail(MovedContainer& moved, Fate fate, const Error& error) {
    moved.fate = fate;
    moved.reason = error.message();
    moved.hint = error.hint();
}

MovedContainer suspend_one(DockerClient& docker, store::Repository& repository, const std::string& name,
                           const SuspendRequest& request, const Report& report) {
    MovedContainer moved;
    moved.name = name;
    try {
        Container container = find_container(docker, name);
        moved.name = container.name;
        moved.id = container.id;
        if (auto reason = cannot_come_back(docker, container)) {
            fail(moved, request.all ? Fate::skipped : Fate::failed, *reason);
            return moved;
        }
        Note note{container.id, container.name, base::rfc3339(std::chrono::system_clock::now()),
                  std::nullopt};
        write_note(repository, note);
        try {
            SnapRequest snap_request;
            snap_request.message = request.message.empty() ? "suspended" : request.message;
            snap_request.stop = true;
            store::SnapshotRecord record =
                snap(docker, repository, container.id, snap_request, report).record;
            note.snapshot = record.id;
            moved.snapshot = record.name();
        } catch (const Error&) {
            // It runs on.
            drop_note(repository, container.id);
            throw;
        }
        write_note(repository, note);
    } catch (const Error& error) {
        fail(moved, Fate::failed, error);
    }
    return moved;
}

// The snapshot of a note that a dead suspend left unfinished.
std::optional<store::SnapshotId> newest_since(const store::Repository& repository, const Note& note) {
    std::optional<store::SnapshotId> found;
    for (const store::SnapshotRecord& record : repository.list(note.id)) {
        if (base::rfc3339(record.info.taken_at) >= note.began) found = record.id;
    }
    return found;
}

std::optional<MovedContainer> resume_one(DockerClient& docker, store::Repository& repository,
                                         const Note& note, const Report& report) {
    MovedContainer moved;
    moved.name = note.name;
    moved.id = note.id;
    try {
        Container container = find_container(docker, note.id);
        moved.name = container.name;
        auto snapshot = note.snapshot;
        if (!snapshot && container.running) {
            drop_note(repository, note.id);
            return std::nullopt;
        }
        if (!snapshot) snapshot = newest_since(repository, note);
        if (!snapshot) {
            throw Error(ErrorKind::not_found, "its suspend was interrupted before there was a snapshot",
                        fmt::format("start it as it is: docker start {}", container.name));
        }
        store::SnapshotRecord record = repository.resolve(*snapshot, std::chrono::system_clock::now());
        moved.snapshot = record.name();
        RewindRequest request;
        request.safety = container.running;
        rewind(docker, repository, container.id, record, request, report);
        drop_note(repository, note.id);
    } catch (const Error& error) {
        fail(moved, Fate::failed, error);
    }
    return moved;
}

bool is_meant(const Note& note, const SuspendRequest& request) {
    return request.all ||
           std::any_of(request.names.begin(), request.names.end(), [&](const std::string& name) {
               return name == note.name || (name.size() >= 4 && note.id.starts_with(name));
           });
}

}  // namespace

bool has_labels(const json& labels, const std::vector<std::string>& wanted) {
    return std::all_of(wanted.begin(), wanted.end(), [&](const std::string& label) {
        size_t equals = label.find('=');
        std::string key = label.substr(0, equals);
        if (!labels.is_object() || !labels.contains(key)) return false;
        return equals == label.npos || labels[key] == label.substr(equals + 1);
    });
}

std::vector<MovedContainer> suspend(DockerClient& docker, store::Repository& repository,
                                    const SuspendRequest& request, const Report& report) {
    std::vector<MovedContainer> all;
    for (const std::string& name : chosen_names(docker, request)) {
        all.push_back(suspend_one(docker, repository, name, request, report));
    }
    return all;
}

std::vector<MovedContainer> resume_suspended(DockerClient& docker, store::Repository& repository,
                                             const SuspendRequest& request, const Report& report) {
    std::vector<MovedContainer> all;
    std::vector<Note> notes = read_notes(repository);
    for (const Note& note : notes) {
        if (!is_meant(note, request)) continue;
        if (auto moved = resume_one(docker, repository, note, report)) all.push_back(*moved);
    }
    for (const std::string& name : request.names) {
        SuspendRequest only{{name}, {}, false, ""};
        if (std::any_of(notes.begin(), notes.end(), [&](const Note& note) { return is_meant(note, only); }))
            continue;
        MovedContainer unknown;
        unknown.name = name;
        fail(unknown, Fate::failed,
             Error(ErrorKind::not_found, "it was not suspended, or it is back already",
                   "cprewind log shows its snapshots"));
        all.push_back(unknown);
    }
    return all;
}

}  // namespace cprewind::engine

#include "engine/rewind.h"

#include <fmt/format.h>

#include <algorithm>
#include <tuple>

#include "base/error.h"
#include "base/text.h"
#include "engine/guard.h"
#include "engine/materialise.h"
#include "engine/put_back.h"
#include "engine/recover.h"
#include "engine/recreate.h"
#include "engine/resume.h"
#include "engine/rewind_checks.h"
#include "images/directory_source.h"
#include "runtime/plan.h"

namespace cprewind::engine {
namespace {

using base::Error;
using base::ErrorKind;
using nlohmann::json;
using std::chrono::steady_clock;
namespace fs = std::filesystem;

// A dockerd that has died is started again by its host's init within seconds.
constexpr std::chrono::seconds k_docker_patience(60);

// What the guard does when we die between the kill and the success: a restore that is under way is waited for
// and, if it succeeds, stands; anything else goes back to where we came from. When it fails, the journal stays.
void finish_or_go_back(const Scene& scene, const Target& before, Journal& journal) {
    if (!wait_for_docker(k_docker_patience)) return;
    DockerClient docker;
    if (!journal.entry().recreates) {
        if (!settle_restore(docker, scene.container_id)) {
            put_back(docker, scene, before, journal);
        }
        runtime::drop_plan(runtime::state_directory(), scene.container_id);
    } else {
        undo_recreate(docker, before, journal);
    }
    journal.close();
}

void resume_quietly(const std::string& id) {
    try {
        resume_container(id);
    } catch (const Error&) {
        // The failure that is being reported matters more.
    }
}

// After a failure: back to where we came from, then the failure again, with what became of the container.
[[noreturn]] void go_back(DockerClient& docker, const Scene& scene, const Target& before, Journal& journal,
                          const Error& error) {
    std::string state;
    try {
        if (journal.entry().recreates) {
            undo_recreate(docker, before, journal);
        } else {
            put_back(docker, scene, before, journal);
        }
        journal.close();
        state = before.images.empty() ? "its files are as they were before; it is stopped, as before"
                                      : "it runs again exactly where it was before";
    } catch (const Error& second) {
        // Perhaps it was never killed: then at least it must not stay frozen.
        const JournalEntry& entry = journal.entry();
        if (!before.images.empty() && !before.paused) resume_quietly(entry.container_id);
        throw Error(ErrorKind::failed,
                    fmt::format("{}; and putting container {} back failed as well: {}", error.message(),
                                entry.container_name, second.message()),
                    entry.safety_name.empty()
                        ? fmt::format("try again: cprewind recover {}", entry.container_name)
                        : fmt::format("its state of before is kept as {}; try again: cprewind recover {}",
                                      entry.safety_name, entry.container_name),
                    error.detail());
    }
    throw Error(error.kind(), fmt::format("{}; {}", error.message(), state), error.hint(), error.detail());
}

// What a person would look at first: does it run, and is it what we asked for?
void check_is_up(const std::string& name, const Container& now) {
    if (now.running && !processes_of(now).empty()) return;
    throw Error(ErrorKind::failed, fmt::format("container {} was restored and ended at once", name),
                fmt::format("see its log: docker logs {}", name));
}

// The closer look, while it runs.
RunningCheck verify(const Container& now, const ReadyMoment& ready, const Scene& scene, const PutBack& done) {
    images::DirectorySource images(ready.images);
    RunningCheck check =
        check_running(now, ready.checkpoint, images, scene.layer_directory, ready.layer, done.started_ns);
    if (check.faults.empty()) return check;
    throw Error(ErrorKind::failed,
                fmt::format("container {} was restored, but is not what the snapshot holds: {}",
                            scene.container_name, check.faults.front()),
                "--no-verify takes it as it is; cprewind verify tells whether the snapshot is whole",
                base::join(check.faults, "\n"));
}

// What an earlier command left. When that cannot be recovered, this rewind may still lead out of it.
std::optional<std::string> recover_before_rewind(DockerClient& docker, const ContainerLock& lock,
                                                 const std::string& name, const store::Repository& repository,
                                                 const Report& report) {
    Container container = find_container(docker, name);
    try {
        auto recovered = recover_container(docker, lock, container.id, repository.path(), report);
        if (recovered) return recovered->sentence;
    } catch (const Error& error) {
        if (find_container(docker, name).running) throw;
        return error.message();
    }
    return std::nullopt;
}

// Where the container stands now, as something that can be put in place again.
class Before {
 public:
    // A running one is frozen from here on.
    void take(DockerClient& docker, const Container& container, const fs::path& staging_path,
              const ContainerLock& lock) {
        moment_ = take_moment(docker, container, {Via::automatic, staging_path, lock}, &freeze_);
    }

    // After store_moment, or without one.
    void finish_frozen(const Container& container) {
        target_ = {moment_.images(), moment_.layer->tree(), moment_.layer->data_path(), container.paused};
        // The network of before is gone as well when we have to go back.
        fit(target_, images::load_checkpoint(images::DirectorySource(moment_.images())));
        save_before(directory(), target_, false);
    }

    // A stopped one has nothing but files. No safety snapshot holds them, so they lie where a reboot leaves them.
    void take_files(const fs::path& layer, const fs::path& disk) {
        moment_.staging = std::make_unique<Staging>(StagingPlace{disk, false, 0});
        stopped_ = std::make_unique<LayerCapture>(layer, directory() / "layer.data");
        stopped_->pass();
        stopped_->finish();
        target_ = {{}, stopped_->tree(), stopped_->data_path()};
        save_before(directory(), target_, true);
    }

    FrozenMoment& moment() { return moment_; }
    const Target& target() const { return target_; }
    fs::path directory() const { return moment_.staging->path(); }
    Staging& staging() { return *moment_.staging; }
    // Others answer for the container from here on.
    void let_go() {
        if (freeze_) freeze_->abandon();
        freeze_.reset();
    }

 private:
    FrozenMoment moment_;
    std::unique_ptr<Freeze> freeze_;
    std::unique_ptr<LayerCapture> stopped_;
    Target target_;
};

JournalEntry first_entry(const Container& container, const store::Repository& repository,
                         const RewindResult& result, const Scene& scene, const Before& before) {
    JournalEntry entry;
    entry.container_id = container.id;
    entry.container_name = container.name;
    entry.repository = fs::absolute(repository.path());
    entry.init_pid = container.running ? container.init_pid : 0;
    entry.was_paused = container.paused;
    entry.recreates = result.recreated;
    if (result.recreated) entry.backup_name = backup_name_of(container);
    entry.target_id = result.target.id;
    entry.target_name = result.target.name();
    if (result.safety) {
        entry.safety_id = result.safety->id;
        entry.safety_name = result.safety->name();
    }
    entry.before = before.directory();
    entry.before_is_synced = !container.running;
    entry.layer_directory = scene.layer_directory;
    entry.by_api = result.via == Via::api;
    return entry;
}

}  // namespace

RewindResult rewind(DockerClient& docker, store::Repository& repository, const std::string& name,
                    const store::SnapshotRecord& record, const RewindRequest& request, const Report& report) {
    auto began = steady_clock::now();
    ContainerLock lock(find_container(docker, name).id,
                       [&] { report("waiting for another cprewind", 0, 0); });
    RewindResult result;
    result.recovered = recover_before_rewind(docker, lock, name, repository, report);
    Container container = find_container(docker, name);
    check_can_rewind(container, record);
    result.target = record;
    std::tie(result.via, result.recreated) = choose_way(docker, container, request);

    Staging staging(choose_staging(2 * record.raw_bytes, repository.staging_path()));
    ReadyMoment ready = materialise(repository, record, staging.path(), report);
    Scene scene{container.id, container.name, layer_directory_of(container, ready.engine_facts), result.via,
                docker.info().value("DockerRootDir", "/var/lib/docker")};
    Target target = target_of(ready);
    result.connections_closed = target.close_connections;

    Before before;
    if (container.running) {
        report("freezing", 0, 0);
        before.take(docker, container, repository.staging_path(), lock);
        if (request.safety) {
            store::SnapshotInfo info;
            info.kind = store::SnapshotKind::safety;
            info.message = fmt::format("before rewind to {}", record.name());
            result.safety =
                store_moment(docker, repository, container, before.moment(), std::move(info), began, report)
                    .record;
        } else {
            before.moment().layer->finish();
        }
        before.finish_frozen(container);
    } else {
        before.take_files(scene.layer_directory, repository.staging_path());
    }

    report("rewinding", 0, 0);
    auto killed = steady_clock::now();
    result.prepared = killed - began;
    before.staging().keep_for(rewind_journal_path(container.id, repository.path()));
    Journal journal(first_entry(container, repository, result, scene, before));
    Guard guard([&] { finish_or_go_back(scene, before.target(), journal); },
                {lock.hold_fd(), staging.hold_fd(), before.staging().hold_fd()});
    before.let_go();
    try {
        PutBack done;
        if (result.recreated) {
            // What need not be killed is put back more easily.
            if (container.running && !can_stay_frozen(container)) docker.kill(container.id);
            scene = recreate(docker, container, target, journal, done);
        } else {
            done = put_in_place(docker, scene, target, journal);
        }
        result.layer_changes = std::move(done.layer);
        Container now = find_container(docker, scene.container_id);
        check_is_up(scene.container_name, now);
        result.down = steady_clock::now() - killed;
        journal.step_quietly(Step::verify);
        if (request.verify) result.check = verify(now, ready, scene, done);
        result.processes = processes_of(now).size();
        if (container.running && now.ports != container.ports) result.new_ports = now.ports;
        if (result.recreated && request.verify) finish_recreate(docker, journal.entry());
        if (result.recreated && !request.verify) result.backup_name = journal.entry().backup_name;
    } catch (const Error& error) {
        try {
            go_back(docker, scene, before.target(), journal, error);
        } catch (...) {
            guard.disarm();
            throw;
        }
    }
    journal.close();
    guard.disarm();
    repository.set_head(scene.container_id, record.id);
    return result;
}

}  // namespace cprewind::engine

#include "engine/recover.h"

#include <fmt/format.h>

#include <memory>
#include <thread>

#include "base/error.h"
#include "base/text.h"
#include "engine/check_running.h"
#include "engine/journal.h"
#include "engine/materialise.h"
#include "engine/put_back.h"
#include "engine/recreate.h"
#include "engine/resume.h"
#include "engine/snapshot_files.h"
#include "images/directory_source.h"
#include "runtime/plan.h"

namespace cprewind::engine {
namespace {

using base::Error;
using base::ErrorKind;
namespace fs = std::filesystem;

constexpr std::chrono::seconds k_docker_patience(60);
// A stop that a dying rewind had asked Docker for is done by then.
constexpr std::chrono::milliseconds k_stop_is_over(300);

std::optional<Container> find_if_there(DockerClient& docker, const std::string& id) {
    try {
        return find_container(docker, id);
    } catch (const Error& error) {
        if (error.kind() != ErrorKind::not_found) throw;
        return std::nullopt;
    }
}

class Recovery {
 public:
    Recovery(DockerClient& docker, JournalEntry entry, const Report& report)
        : docker_(docker), journal_(Journal::resume(std::move(entry))), report_(report) {}

    Recovered run() {
        auto container = find_if_there(docker_, entry().container_id);
        if (!container && !entry().recreates) {
            journal_.close();
            return outcome(Recovered::What::gone, "it was removed; nothing is left to recover");
        }
        if (entry().recreates) return undo_recreation(container);
        if (is_untouched(*container)) return untouched();
        bool restored = settle_restore(docker_, entry().container_id);
        if (restored && entry().step == Step::back) return at_before();
        if ((restored || entry().step == Step::verify) && is_right()) return at_target();
        go_back();
        return at_before();
    }

 private:
    const JournalEntry& entry() const { return journal_.entry(); }

    Recovered outcome(Recovered::What what, const std::string& sentence) const {
        return {what, entry().container_id, entry().container_name,
                fmt::format("{}: {}", base::escape(entry().container_name), sentence)};
    }

    // The very processes of before are there.
    bool is_untouched(const Container& container) const {
        if (entry().step != Step::kill || !container.running || container.init_pid != entry().init_pid)
            return false;
        std::this_thread::sleep_for(k_stop_is_over);
        Container now = find_container(docker_, entry().container_id);
        return now.running && now.init_pid == entry().init_pid;
    }

    Recovered untouched() {
        if (!entry().was_paused) resume_container(entry().container_id);
        journal_.close();
        return outcome(Recovered::What::untouched,
                       "a rewind had been broken off before anything was changed; it runs on");
    }

    // What runs is what we wanted, as far as can be seen.
    bool is_right() {
        try {
            auto repository = store::open_repository(entry().repository, store::OpenMode::read);
            auto record = repository->resolve(entry().target_id, std::chrono::system_clock::now());
            auto source = repository->open(record);
            images::PrefixedSource images(*source, k_images_prefix);
            auto tree = images::read_whole(*source, k_layer_tree);
            auto data = source->open(k_layer_data);
            images::Findings findings;
            if (!tree || !data) return false;
            auto layer = images::parse_layer(*tree, data->size(), findings);
            // Whatever has changed in the layer by now has changed since.
            auto check =
                check_running(find_container(docker_, entry().container_id), images::load_checkpoint(images),
                              images, entry().layer_directory, layer, 0);
            return check.faults.empty();
        } catch (const Error&) {
            return false;
        }
    }

    Recovered at_target() {
        runtime::drop_plan(runtime::state_directory(), entry().container_id);
        set_head(entry().target_id);
        journal_.close();
        return outcome(
            Recovered::What::at_target,
            "a rewind had been broken off when it was done; it runs at " + base::escape(entry().target_name));
    }

    Recovered at_before() {
        runtime::drop_plan(runtime::state_directory(), entry().container_id);
        if (!entry().safety_id.empty()) set_head(entry().safety_id);
        journal_.close();
        return outcome(
            Recovered::What::at_before,
            entry().init_pid == 0
                ? "a rewind had been broken off; its files are as before, and it is stopped as before"
                : "a rewind had been broken off; it is back where it was before");
    }

    void set_head(const std::string& id) {
        try {
            store::open_repository(entry().repository, store::OpenMode::write)
                ->set_head(entry().container_id, id);
        } catch (const Error&) {
            // Only the timeline's picture is wrong then; the container is right.
        }
    }

    // The moment of before: as it still lies in staging, else the safety snapshot.
    Target moment_of_before() {
        if (entry().boot_id == boot_id() || entry().before_is_synced) {
            if (auto before = load_before(entry().before)) return *before;
        }
        if (entry().safety_id.empty()) {
            throw Error(ErrorKind::failed,
                        fmt::format("the moment of before, {}, is gone, and there is no safety snapshot",
                                    base::escape(entry().before.string())));
        }
        auto repository = store::open_repository(entry().repository, store::OpenMode::read);
        auto record = repository->resolve(entry().safety_id, std::chrono::system_clock::now());
        staging_ =
            std::make_unique<Staging>(choose_staging(2 * record.raw_bytes, repository->staging_path()));
        return target_of(materialise(*repository, record, staging_->path(), report_));
    }

    void go_back() {
        report_("going back", 0, 0);
        try {
            Target before = moment_of_before();
            Scene scene{entry().container_id, entry().container_name, entry().layer_directory,
                        entry().by_api ? Via::api : Via::runtime,
                        docker_.info().value("DockerRootDir", "/var/lib/docker")};
            put_back(docker_, scene, before, journal_);
        } catch (const Error& error) {
            throw left_to_do(error);
        }
    }

    Recovered undo_recreation(const std::optional<Container>& old) {
        if (!old) {
            journal_.close();
            return outcome(Recovered::What::at_target,
                           "a rewind had been broken off when it was done; the new container stands");
        }
        try {
            report_("going back", 0, 0);
            Target before;
            // An old one that is alive is simply let run on.
            if (!old->running && entry().init_pid != 0) before = moment_of_before();
            undo_recreate(docker_, before, journal_);
        } catch (const Error& error) {
            throw left_to_do(error);
        }
        return at_before();
    }

    Error left_to_do(const Error& error) {
        std::string how = "its state cannot be told";
        try {
            auto now = find_if_there(docker_, entry().container_id);
            how = !now ? "it does not exist" : now->running ? "it runs" : "it is stopped";
            if (now && !now->running && entry().step != Step::kill) {
                how += fmt::format(", its files partly those of {}", base::escape(entry().target_name));
            }
        } catch (const Error&) {
            // Docker is down; then that is what `error` says.
        }
        std::string name = base::escape(entry().container_name);
        std::string safety = base::escape(entry().safety_name);
        return Error(
            error.kind(),
            fmt::format("a rewind of {} to {} was broken off, and it cannot be brought back: {}; {}", name,
                        base::escape(entry().target_name), error.message(), how),
            safety.empty()
                ? fmt::format("rewind it to a snapshot (cprewind log {}), or keep it as it is: cprewind "
                              "recover --forget {}",
                              name, name)
                : fmt::format("its state of before is {}: try again (cprewind recover {}), or cprewind "
                              "rewind {} --to {}, or keep it as it is: cprewind recover --forget {}",
                              safety, name, name, safety, name),
            error.detail());
    }

    DockerClient& docker_;
    Journal journal_;
    const Report& report_;
    std::unique_ptr<Staging> staging_;
};

}  // namespace

const char* name_of(Recovered::What what) {
    switch (what) {
        case Recovered::What::resumed:
            return "resumed";
        case Recovered::What::untouched:
            return "untouched";
        case Recovered::What::at_target:
            return "at-target";
        case Recovered::What::at_before:
            return "at-before";
        case Recovered::What::gone:
            return "gone";
    }
    return "?";
}

std::optional<Recovered> recover_container(DockerClient& docker, const ContainerLock&, const std::string& id,
                                           const fs::path& repository, const Report& report) {
    auto entry = find_rewind_journal(id, repository);
    if (entry) {
        wait_for_docker(k_docker_patience);
        Recovered recovered = Recovery(docker, *entry, report).run();
        drop_freeze_note(id);
        return recovered;
    }
    if (!has_freeze_note(id)) return std::nullopt;
    wait_for_docker(k_docker_patience);
    auto container = find_if_there(docker, id);
    Recovered recovered{Recovered::What::resumed, id, container ? container->name : id.substr(0, 12), {}};
    if (container && container->running) {
        resume_container(id);
        recovered.sentence = fmt::format("{} had been left paused by a snap that was broken off; it runs on",
                                         recovered.container_name);
        return recovered;
    }
    drop_freeze_note(id);
    recovered.what = Recovered::What::gone;
    recovered.sentence =
        fmt::format("{} was to be resumed after a snap that was broken off, and does not run any more",
                    recovered.container_name);
    return recovered;
}

void forget_journal(const ContainerLock&, const std::string& id, const fs::path& repository) {
    drop_freeze_note(id);
    fs::path file = rewind_journal_path(id, repository);
    try {
        if (auto entry = find_rewind_journal(id, repository)) return Journal::resume(*entry).close();
    } catch (const Error&) {
        // It cannot be read: all the more reason to forget it.
    }
    std::error_code ignored;
    fs::remove(file, ignored);
}

}  // namespace cprewind::engine

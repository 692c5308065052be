#include "engine/journal.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "base/fd.h"
#include "base/text.h"

namespace cprewind::engine {
namespace {

using base::Error;
using base::ErrorKind;
using nlohmann::json;
namespace fs = std::filesystem;

constexpr int k_version = 1;
constexpr uint64_t k_limit = 64 * 1024;
constexpr std::string_view k_rewind_suffix = ".rewind";
constexpr std::string_view k_freeze_suffix = ".freeze";
constexpr Step k_steps[] = {Step::kill, Step::layer, Step::start, Step::verify, Step::back};

const fs::path& running_directory() {
    static const fs::path k_directory = "/run/cprewind/journal";
    return k_directory;
}

void make_directories(const fs::path& directory) {
    base::make_private_directory(directory.parent_path());
    base::make_private_directory(directory);
}

fs::path file_of(const fs::path& directory, const std::string& container_id, std::string_view suffix) {
    // An id becomes a file name.
    CPREWIND_CHECK(!container_id.empty() &&
                   container_id.find_first_not_of("0123456789abcdef") == std::string::npos);
    return directory / (container_id + std::string(suffix));
}

std::string to_text(const JournalEntry& entry) {
    json document = {{"version", k_version},
                     {"step", name_of(entry.step)},
                     {"container_id", entry.container_id},
                     {"container_name", entry.container_name},
                     {"repository", entry.repository.string()},
                     {"init_pid", entry.init_pid},
                     {"was_paused", entry.was_paused},
                     {"recreates", entry.recreates},
                     {"backup_name", entry.backup_name},
                     {"target_id", entry.target_id},
                     {"target_name", entry.target_name},
                     {"safety_id", entry.safety_id},
                     {"safety_name", entry.safety_name},
                     {"before", entry.before.string()},
                     {"before_is_synced", entry.before_is_synced},
                     {"layer_directory", entry.layer_directory.string()},
                     {"by_api", entry.by_api},
                     {"boot_id", entry.boot_id},
                     {"written_at", entry.written_at}};
    return document.dump(1, ' ', false, json::error_handler_t::replace) + "\n";
}

// Throws nlohmann's exceptions for what is missing or of another type.
JournalEntry from_json(const json& document) {
    if (document.at("version") != k_version) throw std::runtime_error("it is of another version");
    JournalEntry entry;
    auto step = std::find_if(std::begin(k_steps), std::end(k_steps),
                             [&](Step s) { return document.at("step") == name_of(s); });
    if (step == std::end(k_steps)) throw std::runtime_error("its step is unknown");
    entry.step = *step;
    auto text = [&](const char* key) { return document.at(key).get<std::string>(); };
    entry.container_id = text("container_id");
    entry.container_name = text("container_name");
    entry.repository = text("repository");
    entry.init_pid = document.at("init_pid").get<pid_t>();
    entry.was_paused = document.at("was_paused").get<bool>();
    entry.recreates = document.at("recreates").get<bool>();
    entry.backup_name = text("backup_name");
    entry.target_id = text("target_id");
    entry.target_name = text("target_name");
    entry.safety_id = text("safety_id");
    entry.safety_name = text("safety_name");
    entry.before = text("before");
    entry.before_is_synced = document.at("before_is_synced").get<bool>();
    entry.layer_directory = text("layer_directory");
    entry.by_api = document.at("by_api").get<bool>();
    entry.boot_id = text("boot_id");
    entry.written_at = text("written_at");
    return entry;
}

bool is_there(const fs::path& path) {
    std::error_code ignored;
    return fs::exists(path, ignored);
}

}  // namespace

const char* name_of(Step step) {
    switch (step) {
        case Step::kill:
            return "kill";
        case Step::layer:
            return "layer";
        case Step::start:
            return "start";
        case Step::verify:
            return "verify";
        case Step::back:
            return "back";
    }
    return "?";
}

std::string boot_id() {
    return std::string(base::trim(base::read_file("/proc/sys/kernel/random/boot_id")));
}

fs::path rewind_journal_path(const std::string& container_id, const fs::path& repository) {
    return file_of(repository / "journal", container_id, k_rewind_suffix);
}

Journal::Journal(JournalEntry entry) : entry_(std::move(entry)) {
    entry_.boot_id = boot_id();
    entry_.written_at = base::rfc3339(std::chrono::system_clock::now());
    make_directories(running_directory());
    base::make_private_directory(entry_.repository / "journal");
    // The link first: it may point at nothing, but the file must not be overlooked.
    fs::path link = file_of(running_directory(), entry_.container_id, k_rewind_suffix);
    fs::path file = fs::absolute(rewind_journal_path(entry_.container_id, entry_.repository));
    std::error_code ignored;
    fs::remove(link, ignored);
    if (::symlink(file.c_str(), link.c_str()) != 0) {
        base::throw_errno(errno, fmt::format("make the link {}", link.string()));
    }
    write();
}

Journal Journal::resume(JournalEntry entry) {
    Journal journal;
    journal.entry_ = std::move(entry);
    return journal;
}

void Journal::write() const {
    base::replace_file(rewind_journal_path(entry_.container_id, entry_.repository), to_text(entry_));
}

void Journal::step(Step step) {
    Step before = entry_.step;
    entry_.step = step;
    try {
        write();
    } catch (const Error&) {
        entry_.step = before;
        throw;
    }
}

void Journal::step_quietly(Step step) noexcept {
    try {
        this->step(step);
    } catch (const std::exception&) {
        // Then recovery begins from an earlier step, which leads to the same end.
    }
}

void Journal::close() noexcept {
    std::error_code ignored;
    fs::path file = rewind_journal_path(entry_.container_id, entry_.repository);
    fs::remove(file, ignored);
    fs::remove(file_of(running_directory(), entry_.container_id, k_rewind_suffix), ignored);
    try {
        base::sync_directory(file.parent_path());
    } catch (const Error&) {
        // A journal that comes back after a power cut is of a container that is stopped then anyway.
    }
}

std::optional<JournalEntry> find_rewind_journal(const std::string& container_id, const fs::path& repository) {
    fs::path file = file_of(running_directory(), container_id, k_rewind_suffix);
    if (!is_there(file)) file = rewind_journal_path(container_id, repository);
    if (!is_there(file)) return std::nullopt;
    try {
        JournalEntry entry = from_json(json::parse(base::read_file(file, k_limit)));
        if (entry.container_id != container_id) throw std::runtime_error("it is of another container");
        return entry;
    } catch (const Error&) {
        throw;
    } catch (const std::exception& e) {
        throw Error(
            ErrorKind::damaged,
            fmt::format("the journal {} of a rewind that was broken off cannot be read: {}",
                        base::escape(file.string()), base::escape(e.what())),
            "see how the container stands (docker ps -a), remove that file, and rewind to the snapshot "
            "you want; the latest safety snapshot is the state of before");
    }
}

void write_freeze_note(const std::string& container_id) {
    make_directories(running_directory());
    base::Fd note = base::open_file(file_of(running_directory(), container_id, k_freeze_suffix),
                                    O_WRONLY | O_CREAT | O_TRUNC, 0600);
}

void drop_freeze_note(const std::string& container_id) noexcept {
    std::error_code ignored;
    fs::remove(file_of(running_directory(), container_id, k_freeze_suffix), ignored);
}

bool has_freeze_note(const std::string& container_id) {
    return is_there(file_of(running_directory(), container_id, k_freeze_suffix));
}

std::vector<std::string> containers_with_journals(const fs::path& repository) {
    std::set<std::string> ids;
    std::error_code ignored;
    for (const fs::path& directory : {running_directory(), repository / "journal"}) {
        for (const fs::directory_entry& entry : fs::directory_iterator(directory, ignored)) {
            std::string suffix = entry.path().extension().string();
            std::string id = entry.path().stem().string();
            bool hex = !id.empty() && id.find_first_not_of("0123456789abcdef") == std::string::npos;
            // A link that leads nowhere is what a death in Journal::close leaves.
            if (hex && (suffix == k_rewind_suffix || suffix == k_freeze_suffix) && is_there(entry.path())) {
                ids.insert(id);
            }
        }
    }
    return {ids.begin(), ids.end()};
}

}  // namespace cprewind::engine

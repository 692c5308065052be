// What we are doing to a container, on disk before we do it: so that after the death of everybody who knew, the
// next cprewind command knows.
//
// Guards (engine/guard.h) put things right when we die; a journal is for when they died, too: kill -9 of both, a
// crash of dockerd in between, a power cut. Whoever takes the lock of a container (ContainerLock, which guards
// and dumps hold on to) and finds a journal of it, finds a dead man's: engine/recover.h reads it.
//
//   /run/cprewind/journal/<container id>.freeze    we paused it: it stands still until somebody resumes it.
//                                                  On a tmpfs: a pause does not outlive a reboot either.
//   <repository>/journal/<container id>.rewind     a rewind has begun to change it
//   /run/cprewind/journal/<container id>.rewind    symbolic link to that, for a command with another repository
//
// Each is one JSON object, replaced as a whole and synced. The step is written before it is begun:
//
//   kill     perhaps it still runs, or is frozen, untouched
//   layer    it is stopped; its files are partly those of before, partly the target's
//   start    its files are the target's; perhaps Docker is starting it
//   verify   it runs at the target; we were looking whether it is right
//   back     something failed, and we are going back to where it was
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace cprewind::engine {

enum class Step { kill, layer, start, verify, back };
const char* name_of(Step step);

struct JournalEntry {
    Step step = Step::kill;
    std::string container_id;
    std::string container_name;
    std::filesystem::path repository;
    pid_t init_pid = 0;       // of before, 0: it was stopped
    bool was_paused = false;  // by its owner
    bool recreates = false;   // a new container takes the name; this one is kept as backup_name meanwhile
    std::string backup_name;
    std::string target_id;  // of the snapshot we go to
    std::string target_name;
    std::string safety_id;  // of the snapshot of before; empty: none
    std::string safety_name;
    std::filesystem::path before;   // staging directory with the moment of before (engine/moment_files.h)
    bool before_is_synced = false;  // it outlives a reboot
    std::filesystem::path layer_directory;
    bool by_api = false;  // Docker's own restore
    std::string boot_id;
    std::string written_at;  // RFC 3339
};

class Journal {
 public:
    // Writes it, synced; from here on it stays until close(), whatever becomes of us. Throws base::Error.
    explicit Journal(JournalEntry entry);
    // Takes up what another left.
    static Journal resume(JournalEntry entry);

    const JournalEntry& entry() const { return entry_; }
    void step(Step step);
    // On the way back nothing may stop us, not even a full disk: then the older step stands.
    void step_quietly(Step step) noexcept;
    void close() noexcept;

 private:
    Journal() = default;
    void write() const;
    JournalEntry entry_;
};

// The journal of a rewind of that container, of this repository or another. Throws (damaged) for one that cannot be
// read.
std::optional<JournalEntry> find_rewind_journal(const std::string& container_id,
                                                const std::filesystem::path& repository);

// Where the journal of a rewind lies.
std::filesystem::path rewind_journal_path(const std::string& container_id,
                                          const std::filesystem::path& repository);

// Says for as long as it stands that the container is paused because of us.
void write_freeze_note(const std::string& container_id);
void drop_freeze_note(const std::string& container_id) noexcept;
bool has_freeze_note(const std::string& container_id);

// Ids of all containers that a journal of here or of this repository names.
std::vector<std::string> containers_with_journals(const std::filesystem::path& repository);

// The id of this boot of the host.
std::string boot_id();

}  // namespace cprewind::engine
